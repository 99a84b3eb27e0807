//! `avouch config`.

use super::global::GlobalArgs;
use crate::commands::config;
use crate::error::CliError;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show every key of a program's configuration, its value, and where that comes from; secrets are hidden
    #[command(after_help = "\
Examples:
  avouch config show orders --config orders.toml
  avouch config show ./avouch-issuer --config issuer.toml --set service.listen=127.0.0.1:7000
  avouch config show --json orders

The program itself answers, with the file, the environment and the --set that it would start with: the same as its own
flag --show-config. It starts nothing. A name without a slash is looked for beside avouch, then on the PATH.")]
    Show(ConfigShow),
}

#[derive(Debug, Args)]
pub(super) struct ConfigShow {
    /// The program, by name or path
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Its flags, such as --config FILE and --set SECTION.KEY=VALUE
    #[arg(value_name = "FLAGS", trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<OsString>,
}

impl ConfigCommand {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let Self::Show(args) = self;
        config::show(&args.program, &args.flags, global.output())
    }
}
