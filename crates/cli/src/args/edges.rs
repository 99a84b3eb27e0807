//! `avouch edges`.

use super::global::GlobalArgs;
use super::sources::SourceArgs;
use crate::commands::edges::{self, Wanted};
use crate::error::CliError;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct EdgesArgs {
    /// Only where calls were refused, or would have been but for audit mode
    #[arg(long)]
    refused: bool,
    /// Also what commands like this one call
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    sources: SourceArgs,
}

pub(super) const HELP: &str = "\
Examples:
  avouch edges
  avouch edges --refused
  avouch edges --all
  avouch edges --from dump.tgz --json
  avouch edges --identity /etc/avouch/operator --workload 127.0.0.1:7001=spiffe://market.example/orders

Asks each workload what it counted since it started. × marks refused calls, ‼ those that audit mode let through.

Exit status: 0 there are some, 1 there are none or nobody answers, 2 wrong usage.";

impl EdgesArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let wanted = Wanted { refused: self.refused, all: self.all };
        edges::run(&self.sources.sources(global), wanted, global.output()).await
    }
}
