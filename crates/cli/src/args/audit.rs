//! `avouch audit`.

use super::global::GlobalArgs;
use crate::commands::audit::{self, Since};
use crate::error::CliError;
use clap::Args;
use std::process::ExitCode;

pub(super) const HELP: &str = "\
Examples:
  avouch audit
  avouch audit --since 2h
  avouch audit --since 2026-11-25T12:00:00Z --json";

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Only what was done since then: so long ago, as in 2h, or a time, as in 2026-11-25T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
}

impl AuditArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        audit::run(&global.admin(), self.since, global.output()).await
    }
}
