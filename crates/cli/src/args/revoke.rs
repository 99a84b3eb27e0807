//! `avouch revoke`.

use super::global::GlobalArgs;
use super::sources::AskerArgs;
use crate::commands::revoke::{self, Remark, Revocation, Subject};
use crate::error::CliError;
use avouch_time::ConfigDuration;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use std::process::ExitCode;
use std::time::Duration;

pub(super) const HELP: &str = "\
Examples:
  avouch revoke spiffe://market.example/orders --dry-run
  avouch revoke spiffe://market.example/orders --reason compromised --for 2h
  avouch revoke serial:0a1b2c --json
  avouch revoke --undo 7 --reason mistaken

A revoked certificate takes those with it that were renewed or recovered from it. The revocation is durable once it is
reported; an interrupt or --timeout ends the watching, not the revocation.

Exit status: 0 everybody who uses the trust state refuses it and no connection was accepted since; 1 it was refused,
somebody has not said so in time, or a connection was accepted since; 2 wrong usage.";

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// An identity, as in spiffe://market.example/orders, or a certificate, as in serial:0a1b2c
    #[arg(value_name = "SUBJECT", required_unless_present = "undo")]
    subject: Option<Subject>,
    /// Take the revocation with this id back
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..),
        conflicts_with_all = ["subject", "duration", "dry_run", "force"])]
    undo: Option<i64>,
    /// Why, in your words: kept on record, at most 500 characters
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: Remark,
    /// Of an identity: for how long, as in 2h [default: until it is undone]
    #[arg(long = "for", value_name = "TIME")]
    duration: Option<ConfigDuration>,
    /// Say what it would hit, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also the issuer's own identity, yours, or more than half of those that are live
    #[arg(long)]
    force: bool,
    /// How long to wait until everybody refuses it
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: ConfigDuration,
    #[command(flatten)]
    asker: AskerArgs,
}

impl RevokeArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        if let Some(id) = self.undo {
            return revoke::undo(&global.admin(), id, &self.reason, global.output()).await;
        }
        let Some(subject) = &self.subject else { return Ok(ExitCode::from(2)) }; // the grammar asks for either
        let revocation = Revocation {
            subject: subject.clone(),
            reason: self.reason.clone(),
            duration: self.duration.map(Duration::from),
            dry_run: self.dry_run,
            force: self.force,
        };
        let timeout = Duration::from(self.timeout);
        revoke::run(&self.asker.sources(global), &revocation, timeout, global.output()).await
    }

    /// What the grammar cannot say: a certificate is revoked until its end.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        if self.duration.is_some() && matches!(self.subject, Some(Subject::Serial(_))) {
            let text = "--for is for identities: a certificate is revoked until it ends";
            return Err(super::Arguments::command().error(ErrorKind::ArgumentConflict, text));
        }
        Ok(())
    }
}
