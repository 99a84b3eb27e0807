//! `avouch handshake`: where a connection breaks, and why.

use crate::error::CliError;
use crate::handshake::{self, Plan};
use crate::output::Output;
use crate::roots::{OwnIdentity, Roots};
use avouch_fleet::AdminSocket;
use avouch_spiffe::{HostPort, SpiffeId};
use std::path::Path;
use std::process::ExitCode;

/// A server, and how to connect to it.
pub(crate) struct Options<'a> {
    pub(crate) target: HostPort,
    /// The directory with the identity to present.
    pub(crate) identity: Option<&'a Path>,
    /// The SPIFFE ID that the server must have.
    pub(crate) expect: Option<SpiffeId>,
    /// The roots to judge the server by.
    pub(crate) bundle: Option<&'a Path>,
}

pub(crate) async fn run(
    options: &Options<'_>,
    admin: &AdminSocket,
    output: Output,
) -> Result<ExitCode, CliError> {
    let identity = options.identity.map(OwnIdentity::read).transpose()?;
    let domain = options.expect.as_ref().map(|id| id.trust_domain().clone());
    let roots = match (options.bundle, &identity) {
        (Some(path), _) => Some(Roots::read(path, domain)?),
        (None, Some(own)) => own.roots.clone(),
        (None, None) => of_issuer(admin).await,
    };
    let plan = Plan { target: options.target.clone(), identity, roots, expect: options.expect.clone() };
    let report = handshake::run(&plan).await;
    output.show(|| report.to_json(), || report.to_text())?;
    Ok(super::exit_code(report.works()))
}

/// The roots that an issuer of this user's gives out; nothing where there is none, since a handshake needs no issuer.
async fn of_issuer(admin: &AdminSocket) -> Option<Roots> {
    let mut client = admin.connect().await.ok()?;
    let (bundle, _) = super::bundle::get(&mut client).await.ok()?;
    Some(Roots::of_issuer(&bundle))
}
