//! `avouch explain`.

use super::global::GlobalArgs;
use super::sources::SourceArgs;
use crate::commands::explain;
use crate::error::CliError;
use crate::explain::{ExplainTarget, Moment, Peer};
use clap::Args;
use std::process::ExitCode;

pub(super) const HELP: &str = "\
Examples:
  avouch explain d-0011223344556677
  avouch explain conn-0011223344556677
  avouch explain 10.0.0.7:41234 --at 1764072000
  avouch explain --connection 10.0.0.7:41234,1764072000
  avouch explain AV-202
  avouch explain ROLE_MISSING
  avouch explain d-0011223344556677 --from dump.tgz

A refused call names the decision, a refused connection the client's end of it and the time. Checks and reasons are
explained offline. Processes remember only their latest records.
Exit status: 0 explained, 1 nobody has a record of it, 2 wrong usage.";

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A decision (d-…), a connection (conn-…), a client's address and port, a check (AV-nnn) or a reason
    #[arg(value_name = "WHAT", required_unless_present = "connection")]
    what: Option<ExplainTarget>,
    /// The connection of this client, as its error line names it
    #[arg(long, value_name = "ADDRESS:PORT[,TIME]", conflicts_with = "what")]
    connection: Option<Peer>,
    /// When the client was refused: seconds since 1970, or as in 2026-11-25T12:00:00Z [default: the latest]
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    #[command(flatten)]
    sources: SourceArgs,
}

impl ExplainArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        match self.target() {
            Some(target) => explain::run(&target, &self.sources.sources(global), global.output()).await,
            None => Ok(ExitCode::from(2)),
        }
    }

    /// What is to be explained; nothing only if the parser let nothing through.
    fn target(&self) -> Option<ExplainTarget> {
        let target = self.what.clone().or_else(|| self.connection.clone().map(ExplainTarget::Peer))?;
        Some(match target {
            ExplainTarget::Peer(peer) => {
                ExplainTarget::Peer(Peer { at: self.at.map(|at| at.0).or(peer.at), ..peer })
            }
            other => other,
        })
    }
}
