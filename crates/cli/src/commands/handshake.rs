//! `avouch handshake`: where a connection breaks, and why.

use crate::args::{Arguments, HandshakeArgs};
use crate::error::CliError;
use crate::handshake::{self, Plan};
use crate::roots::{OwnIdentity, Roots};
use crate::{client, output};
use std::process::ExitCode;

pub(crate) async fn run(arguments: &Arguments, args: &HandshakeArgs) -> Result<ExitCode, CliError> {
    let identity = args.identity.as_deref().map(OwnIdentity::read).transpose()?;
    let domain = args.expect.as_ref().map(|id| id.trust_domain().clone());
    let roots = match &args.bundle {
        Some(path) => Some(Roots::read(path, domain)?),
        None => match &identity {
            Some(own) => own.roots.clone(),
            None => of_issuer(arguments).await,
        },
    };
    let plan = Plan { target: args.target.clone(), identity, roots, expect: args.expect.clone() };
    let report = handshake::run(&plan).await;
    if arguments.json {
        output::json(&report.to_json())?;
    } else {
        output::text(&report.to_text())?;
    }
    Ok(if report.works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The roots that an issuer of this user's gives out; nothing where there is none, since a handshake needs no issuer.
async fn of_issuer(arguments: &Arguments) -> Option<Roots> {
    let mut client = client::connect(arguments).await.ok()?;
    let bundle = super::bundle::get(&mut client).await.ok()?;
    Some(Roots::of_issuer(&bundle.0))
}
