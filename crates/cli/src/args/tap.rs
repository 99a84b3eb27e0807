//! `avouch tap`.

use super::Sources;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Tap {
    /// Only what was refused, or would have been but for audit mode
    #[arg(long)]
    pub(crate) denied: bool,
    /// Also the calls of commands like this one
    #[arg(long)]
    pub(crate) all: bool,
    /// Go on with what happens from now on, until interrupted
    #[arg(long, short, conflicts_with = "from")]
    pub(crate) follow: bool,
    /// Only what is about WHAT: the id of a record, a trace id, a serial, a SPIFFE ID or an address
    #[arg(long, value_name = "WHAT")]
    pub(crate) about: Option<String>,
    /// How a record is written [default: text; with --json: json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) sources: Sources,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line for people
    Text,
    /// A JSON object on each line
    Json,
    /// Connections only, each with the fifteen fields of an AWS load balancer's connection log
    Alb,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  avouch tap
  avouch tap --denied --follow
  avouch tap --about spiffe://market.example/orders --format json
  avouch tap --denied --from dump.tgz
  avouch tap --format alb > connections.log

The records of everybody, oldest first: who connected, and whose calls were refused.

Exit status: 0 there are some, 1 there are none or nobody answers, 2 wrong usage.";
