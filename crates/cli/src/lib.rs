//! `avouch`: what the operator of an issuer does from a shell.
//!
//! Results go to standard output, everything else to standard error; success without a result says nothing. Exit status:
//! 0 done, 1 refused or failed, 2 wrong usage. Talks to the issuer over its Unix socket, with the rights of the operating
//! system's user who runs it, and to workloads over mutual TLS as an operator.

mod args;
mod checks;
mod clocks;
mod commands;
mod contract;
mod convert;
mod error;
mod explain;
// A fleet with a record of every kind, from the crate whose tests have it too.
#[cfg(test)]
#[path = "../../fleet/src/sample.rs"]
mod fleet_sample;
#[cfg(test)]
mod golden;
mod handshake;
mod input;
mod inspect;
mod lint;
mod output;
mod roots;
#[cfg(test)]
mod sample;
mod sources;
mod upstream;

use args::Arguments;
use clap::Parser;
use error::CliError;
use std::process::ExitCode;

/// The whole program: reads the arguments, carries the command out, and returns the exit status.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse().and_then(Arguments::checked) {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error),
    };
    match run(&arguments) {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS, // as in `avouch cert list | head -1`
        Err(error) => {
            output::report(&error);
            arguments.failure()
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CliError::Runtime)?.block_on(arguments.run())
}
