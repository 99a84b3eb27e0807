//! `avouch cert`.

use avouch_spiffe::SpiffeId;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Look into a certificate or chain (PEM or DER) and check it against the SPIFFE standard, item by item
    #[command(after_help = "\
Examples:
  avouch cert inspect orders.pem
  openssl s_client -connect 127.0.0.1:7001 -showcerts </dev/null | avouch cert inspect -

Needs no issuer. Exit status 1 if a check fails.")]
    Inspect(CertInspect),
    /// List issued certificates, newest first
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  avouch cert list
  avouch cert list --all --id spiffe://market.example/orders
  avouch cert list --json"
    )]
    List(CertList),
}

#[derive(Debug, Args)]
pub(crate) struct CertInspect {
    /// A file with certificates; - reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CertList {
    /// Also certificates that have expired
    #[arg(long)]
    pub(crate) all: bool,
    /// Only this identity's
    #[arg(long, value_name = "SPIFFE_ID")]
    pub(crate) id: Option<SpiffeId>,
}
