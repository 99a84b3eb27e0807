//! `avouch handshake`: where a connection breaks, and why.

use crate::args::{Arguments, HandshakeArgs};
use crate::error::CliError;
use crate::handshake::{self, Plan};
use crate::output;
use crate::roots::{OwnIdentity, Roots};
use std::process::ExitCode;

pub(crate) async fn run(arguments: &Arguments, args: &HandshakeArgs) -> Result<ExitCode, CliError> {
    let identity = args.identity.as_deref().map(OwnIdentity::read).transpose()?;
    let domain = args.expect.as_ref().map(|id| id.trust_domain().clone());
    let roots = match &args.bundle {
        Some(path) => Some(Roots::read(path, domain)?),
        None => identity.as_ref().and_then(|own| own.roots.clone()),
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
