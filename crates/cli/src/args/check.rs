//! `avouch check`.

use super::global::GlobalArgs;
use super::sources::SourceArgs;
use crate::checks::Selection;
use crate::commands::check;
use crate::error::CliError;
use avouch_time::ConfigDuration;
use clap::Args;
use std::process::ExitCode;
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
pub(super) struct CheckArgs {
    /// Look again until nothing is bad any more, for at most so long, as in 30s
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    wait: Option<ConfigDuration>,
    /// Show one check, or those of a category (repeatable): issuer, clock, identity, trust, policy, transport,
    /// storage, records
    #[arg(long, value_name = "AV-nnn|CATEGORY")]
    only: Vec<Selection>,
    #[command(flatten)]
    sources: SourceArgs,
}

impl CheckArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let wait = self.wait.map(Duration::from).unwrap_or_default();
        check::run(&self.sources.sources(global), &self.only, wait, global.output()).await
    }
}
