//! `avouch whois`.

use super::global::GlobalArgs;
use super::sources::SourceArgs;
use crate::commands::whois;
use crate::error::CliError;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct WhoisArgs {
    /// An address (with or without port), a certificate's serial, a SPIFFE ID or a trace id
    #[arg(value_name = "ADDR|SERIAL|SPIFFE-ID|TRACE-ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    what: String,
    #[command(flatten)]
    sources: SourceArgs,
}

pub(super) const HELP: &str = "\
Examples:
  avouch whois spiffe://market.example/orders
  avouch whois 127.0.0.1:51234
  avouch whois 019c3f20a3c17d6a8f2b
  avouch whois 4bf92f3577b34da6a3ce929d0e0e4736 --from dump.tgz

What the issuer and every workload know of it: entry, certificates, where it runs, connections, decisions.

Exit status: 0 somebody knows it, 1 nobody does or nobody answers, 2 wrong usage.";

impl WhoisArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        whois::run(&self.what, &self.sources.sources(global), global.output()).await
    }
}
