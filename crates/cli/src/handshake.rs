//! A connection to a server, made one step at a time, each with what it showed and how long it took.
//!
//! The steps are a channel's own, and so are the verdict and the words ([`avouch_identity::examine`]); here they are
//! shown, with what to do about the one that broke. Carries no call.

mod advice;
mod plan;
mod report;
mod step;
mod steps;

use avouch_identity::examine::{Broken, ClientCertificate, Examination, Looked};
use avouch_spiffe::HostPort;
use avouch_time::clock;

pub(crate) use plan::Plan;
pub(crate) use report::Report;

/// Performs the handshake at every address, as far as it succeeds.
pub(crate) async fn run(plan: &Plan) -> Report {
    Report::of(plan, &plan.examination().run().await)
}

/// The chain that a server presents to a stranger, without believing a word of it, and what it thinks of strangers.
pub(crate) async fn capture(target: &HostPort) -> Captured {
    let examined = Examination::new(target.clone(), clock::system()).name_host().run().await;
    let Looked { told, others, .. } = match examined.outcome {
        Ok(looked) => looked,
        Err(broken) => return Captured { chain: None, asked: false, broken: Some(broken) },
    };
    // The address that tells may have failed before it came to a chain.
    let shown = [&told].into_iter().chain(&others).find(|address| address.chain.is_some()).unwrap_or(&told);
    let chain = shown.chain.as_ref().map(|chain| chain.iter().map(|der| der.to_vec()).collect());
    let asked = shown.client_certificate != ClientCertificate::NotAsked;
    Captured { chain, asked, broken: shown.broken.clone() }
}

/// A server as a client without a certificate sees it.
pub(crate) struct Captured {
    /// Leaf first; `None`: it did not come to that.
    pub(crate) chain: Option<Vec<Vec<u8>>>,
    /// Whether it asked for a client certificate.
    pub(crate) asked: bool,
    /// The step at which the connection broke, without a client certificate; `None`: the server accepted it.
    pub(crate) broken: Option<Broken>,
}
