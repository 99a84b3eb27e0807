//! `avouch dump`.

use super::Sources;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Where to write it; - writes to standard output [default: avouch-TIME.tgz in this directory]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sources: Sources,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  avouch dump
  avouch dump before-the-upgrade.tgz
  avouch dump - > dump.tgz

Everything the commands that read show, in one file for its owner alone: every one of them reads it with --from.
It holds no key and no token; it holds who called whom, so give it to those who may know.

Exit status: 0 written, 1 not written or nobody answers, 2 wrong usage.";
