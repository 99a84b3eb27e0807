//! `avouch revocations`.

use super::global::GlobalArgs;
use crate::commands::revocations;
use crate::commands::revoke::Subject;
use crate::error::CliError;
use clap::Args;
use std::process::ExitCode;

pub(super) const HELP: &str = "\
Examples:
  avouch revocations
  avouch revocations --all
  avouch revocations serial:0a1b2c --json";

#[derive(Debug, Args)]
pub(super) struct RevocationsArgs {
    /// Only those of an identity or a certificate, as in spiffe://market.example/orders or serial:0a1b2c
    #[arg(value_name = "SUBJECT")]
    about: Option<Subject>,
    /// Also those that have ended or were undone
    #[arg(long)]
    all: bool,
}

impl RevocationsArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        revocations::run(&global.admin(), self.about.as_ref(), self.all, global.output()).await
    }
}
