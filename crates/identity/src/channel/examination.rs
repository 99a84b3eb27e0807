//! An examination of a server: the steps of a channel at each address of a name, without a call.
//!
//! The code is the channel's own ([`open`](super::steps::open)), and so is the verdict. It differs in one thing: a
//! server that there are no roots for is not rejected but reported as unverified, and it sees no client certificate. The
//! connections of an examination cannot be used for calls.

mod examiner;
mod findings;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use avouch_spiffe::{HostPort, SpiffeId};
use avouch_time::clock::SharedClock;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::examiner::RootsByLeaf;
use self::examiner::{Examiner, ExaminerCheck};
pub use self::findings::{Broken, ClientCertificate, Examined, ExaminedAddress, Looked, Setting};
use super::addresses::{no_address, resolve};
use super::attempt::{ConnectAttempt, OurSide};
use super::connect::server_name;
use super::failure::ConnectFailure;
use super::race::MOST_TRIED;
use super::steps::{ConnectParameters, open};
use crate::svid::Svid;

/// An examination of a server, to be run.
#[derive(Clone)]
pub struct Examination {
    address: HostPort,
    roots: Option<Arc<RootsByLeaf>>,
    expect: Option<SpiffeId>,
    svid: Option<Svid>,
    name_host: bool,
    timeout: Duration,
    clock: SharedClock,
}

impl fmt::Debug for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examination")
            .field("address", &self.address)
            .field("judges", &self.roots.is_some())
            .field("expect", &self.expect)
            .finish_non_exhaustive()
    }
}

impl Examination {
    /// An examination of the server at `address`, by a client that verifies nothing and shows no certificate.
    #[must_use]
    pub fn new(address: HostPort, clock: SharedClock) -> Self {
        Self {
            address,
            roots: None,
            expect: None,
            svid: None,
            name_host: false,
            timeout: Duration::from_secs(5),
            clock,
        }
    }

    /// The roots that the server is verified against. With one that is rejected no further step is taken, as by a
    /// channel.
    #[must_use]
    pub fn roots(mut self, by_leaf: Arc<RootsByLeaf>) -> Self {
        self.roots = Some(by_leaf);
        self
    }

    /// The identity that the server must have; without it, any that the roots vouch for.
    #[must_use]
    pub fn expect(mut self, expect: Option<SpiffeId>) -> Self {
        self.expect = expect;
        self
    }

    /// The SVID that is presented if the server asks for a client certificate and is verified. No other server sees it.
    #[must_use]
    pub fn present(mut self, svid: Option<Svid>) -> Self {
        self.svid = svid;
        self
    }

    /// Names the host in the ClientHello (SNI): a channel never does, strangers on the web need it.
    #[must_use]
    pub fn name_host(mut self) -> Self {
        self.name_host = true;
        self
    }

    /// Takes the steps, at the first sixteen addresses side by side.
    pub async fn run(self) -> Examined {
        let ours = Arc::new(self.ours());
        let began = Instant::now();
        let resolved = resolve(&self.address, began + self.timeout, &ours).await;
        let (took, unresolved) = (began.elapsed(), Broken::of(&no_address(&ours)));
        let (addresses, unresolved) = match resolved {
            Ok(addresses) => (addresses, unresolved),
            Err(failure) => (Vec::new(), Broken::of(&failure)),
        };
        let mut all = JoinSet::new();
        for (at, address) in addresses.iter().take(MOST_TRIED).enumerate() {
            let (this, attempt) = (self.clone(), Arc::new(ConnectAttempt::new(ours.clone(), Some(*address))));
            all.spawn(async move { (at, this.look(attempt).await) });
        }
        let mut looked = all.join_all().await;
        looked.sort_by_key(|(at, _)| *at);
        let looked = Looked::of(looked.into_iter().map(|(_, looked)| looked).collect());
        Examined { target: ours.target.clone(), took, addresses, outcome: looked.ok_or(unresolved) }
    }

    fn ours(&self) -> OurSide {
        OurSide {
            target: self.address.to_string(),
            expect: self.expect.clone(),
            svid: self.svid.clone().filter(|_| self.roots.is_some()),
            bundle_sequence: None,
            clock: self.clock.clone(),
            difference: None,
        }
    }

    async fn look(self, attempt: Arc<ConnectAttempt>) -> (ExaminedAddress, Option<ConnectFailure>) {
        let (name, timeout) = (server_name(self.address.host()), self.timeout);
        let Self { roots, expect, svid, name_host, clock, .. } = self;
        let (seen, presented) = (OnceLock::new(), OnceLock::new());
        let examiner = Arc::new(Examiner { roots, expect, svid, name_host, clock, seen, presented });
        let parameters =
            ConnectParameters { name, check: Box::new(ExaminerCheck(examiner.clone())), binding: None };
        let failure = match tokio::time::timeout(timeout, open(&attempt, parameters)).await {
            Ok(outcome) => outcome.err(),
            Err(_elapsed) => Some(attempt.late(timeout)),
        };
        (ExaminedAddress::of(&attempt, &examiner, failure.as_ref()), failure)
    }
}

#[cfg(test)]
mod tests;
