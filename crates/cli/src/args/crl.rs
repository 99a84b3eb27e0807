//! `avouch crl`.

use super::global::GlobalArgs;
use crate::commands::crl;
use crate::error::CliError;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum CrlCommand {
    /// Show revocation lists: of the issuer, or those in a file
    #[command(after_help = "\
Examples:
  avouch crl show
  avouch crl show crl.pem
  avouch crl show --json

Exit status 1 if a list is stale, or is none that verifiers can rely upon (delta, indirect, partitioned).")]
    Show(CrlShow),
}

#[derive(Debug, Args)]
pub(super) struct CrlShow {
    /// A file in PEM or DER; - reads standard input; without one, the issuer is asked
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl CrlCommand {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let Self::Show(args) = self;
        crl::show(&global.admin(), args.file.as_deref(), global.output()).await
    }
}
