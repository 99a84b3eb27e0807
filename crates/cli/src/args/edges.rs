//! `avouch edges`.

use super::Sources;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Edges {
    /// Only where calls were refused, or would have been but for audit mode
    #[arg(long)]
    pub(crate) refused: bool,
    /// Also what commands like this one call
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) sources: Sources,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  avouch edges
  avouch edges --refused
  avouch edges --all
  avouch edges --from dump.tgz --json
  avouch edges --identity /etc/avouch/operator --workload 127.0.0.1:7001=spiffe://market.example/orders

Asks each workload what it counted since it started. × marks refused calls, ‼ those that audit mode let through.

Exit status: 0 there are some, 1 there are none or nobody answers, 2 wrong usage.";
