//! `avouch check`.

use super::Sources;
use crate::checks::Selection;
use clap::Args;
use std::time::Duration;

pub(super) const HELP: &str = "\
Examples:
  avouch check
  avouch check --wait 30s
  avouch check --only policy --only AV-202
  avouch check --json
  avouch check --from dump.tgz

√ is good, ‼ is worth acting on soon, × is bad. What follows from a root cause is not shown, but counted under it.
The command explain says what an id means and what to do.
Exit status: 0 nothing is bad, 1 something is, 2 wrong usage.";

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Look again until nothing is bad any more, for at most so long, as in 30s
    #[arg(long, value_name = "TIME", value_parser = crate::timespan::parse, conflicts_with = "from")]
    pub(crate) wait: Option<Duration>,
    /// Show one check, or those of a category (repeatable): issuer, clock, identity, trust, policy, transport,
    /// storage, records
    #[arg(long, value_name = "AV-nnn|CATEGORY")]
    pub(crate) only: Vec<Selection>,
    #[command(flatten)]
    pub(crate) sources: Sources,
}
