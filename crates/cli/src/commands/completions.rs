//! `avouch completions`: what a shell completes, made of the grammar itself.

use crate::args::{Arguments, Completions, Shell};
use crate::error::CliError;
use crate::output;
use clap::CommandFactory;
use std::process::ExitCode;

pub(crate) fn run(args: &Completions) -> Result<ExitCode, CliError> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "avouch", &mut script);
    output::bytes(&script)?; // tabs and escapes in it are meant
    Ok(ExitCode::SUCCESS)
}
