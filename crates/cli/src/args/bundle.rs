//! `avouch bundle`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Show the trust bundle; with --json in the SPIFFE bundle format
    #[command(after_help = "\
Examples:
  avouch bundle show
  avouch bundle show --pem > bundle.pem
  avouch bundle show --json > bundle.json")]
    Show(BundleShow),
}

#[derive(Debug, Args)]
pub(crate) struct BundleShow {
    /// Write the root certificates as PEM
    #[arg(long, conflicts_with = "json")]
    pub(crate) pem: bool,
}
