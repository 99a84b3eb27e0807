//! `avouch bundle`.

use super::global::GlobalArgs;
use crate::commands::bundle;
use crate::error::CliError;
use clap::{Args, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Show the trust bundle; with --json in the SPIFFE bundle format
    #[command(after_help = "\
Examples:
  avouch bundle show
  avouch bundle show --pem > bundle.pem
  avouch bundle show --json > bundle.json")]
    Show(BundleShow),
}

#[derive(Debug, Args)]
pub(super) struct BundleShow {
    /// Write the root certificates as PEM
    #[arg(long, conflicts_with = "json")]
    pem: bool,
}

impl BundleCommand {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let Self::Show(args) = self;
        bundle::show(&global.admin(), args.pem, global.output()).await
    }
}
