//! `avouch tap`.

use super::global::GlobalArgs;
use super::sources::SourceArgs;
use crate::commands::tap::{self, RecordFormat, RecordView};
use crate::error::CliError;
use crate::output::Output;
use clap::{Args, ValueEnum};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct TapArgs {
    /// Only what was refused, or would have been but for audit mode
    #[arg(long)]
    denied: bool,
    /// Also the calls of commands like this one
    #[arg(long)]
    all: bool,
    /// Go on with what happens from now on, until interrupted
    #[arg(long, short, conflicts_with = "from")]
    follow: bool,
    /// Only what is about WHAT: the id of a record, a trace id, a serial, a SPIFFE ID or an address
    #[arg(long, value_name = "WHAT")]
    about: Option<String>,
    /// How a record is written [default: text; with --json: json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    sources: SourceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for people
    Text,
    /// A JSON object on each line
    Json,
    /// Connections only, each with the fifteen fields of an AWS load balancer's connection log
    Alb,
}

pub(super) const HELP: &str = "\
Examples:
  avouch tap
  avouch tap --denied --follow
  avouch tap --about spiffe://market.example/orders --format json
  avouch tap --denied --from dump.tgz
  avouch tap --format alb > connections.log

The records of everybody, oldest first: who connected, and whose calls were refused.

Exit status: 0 there are some, 1 there are none or nobody answers, 2 wrong usage.";

impl TapArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let format = match (self.format, global.output()) {
            (Some(Format::Text), _) | (None, Output::Text) => RecordFormat::Text,
            (Some(Format::Json), _) | (None, Output::Json) => RecordFormat::Json,
            (Some(Format::Alb), _) => RecordFormat::Alb,
        };
        let about = self.about.clone().unwrap_or_default();
        let view = RecordView { format, denied: self.denied, all: self.all, about };
        let sources = self.sources.sources(global);
        if self.follow { tap::follow(&sources, view).await } else { tap::list(&sources, &view).await }
    }
}
