//! `avouch dump`.

use super::global::GlobalArgs;
use super::sources::SourceArgs;
use crate::commands::dump;
use crate::error::CliError;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    /// Where to write it; - writes to standard output [default: avouch-TIME.tgz in this directory]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    sources: SourceArgs,
}

pub(super) const HELP: &str = "\
Examples:
  avouch dump
  avouch dump before-the-upgrade.tgz
  avouch dump - > dump.tgz

Everything the commands that read show, in one file for its owner alone: every one of them reads it with --from.
It holds no key and no token; it holds who called whom, so give it to those who may know.

Exit status: 0 written, 1 not written or nobody answers, 2 wrong usage.";

impl DumpArgs {
    pub(super) async fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        dump::run(self.file.as_deref(), &self.sources.sources(global), global.output()).await
    }
}
