//! `avouch completions`: what a shell completes, made of the grammar itself.

use crate::error::CliError;
use crate::output;
use clap::{Args, CommandFactory, ValueEnum};
use std::process::ExitCode;

pub(super) const HELP: &str = "\
Examples:
  avouch completions bash > /etc/bash_completion.d/avouch
  avouch completions zsh > _avouch
  avouch completions fish > ~/.config/fish/completions/avouch.fish";

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells whose completions are kept in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl CompletionsArgs {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut super::Arguments::command(), "avouch", &mut script);
        output::bytes(&script)?; // tabs and escapes in it are meant
        Ok(ExitCode::SUCCESS)
    }
}
