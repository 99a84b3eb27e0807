//! `avouch`: what the operator of an issuer does from a shell.
//!
//! Results go to standard output, everything else to standard error; success without a result says nothing. Exit status:
//! 0 done, 1 refused or failed, 2 wrong usage. Talks to the issuer over its Unix socket only, so it has exactly the
//! rights of the operating system's user who runs it.

mod args;
mod checks;
mod client;
mod commands;
mod contract;
mod convert;
mod error;
mod explain;
mod fleet;
#[cfg(test)]
mod golden;
mod handshake;
mod input;
mod inspect;
mod lint;
mod output;
mod roots;
mod runtime_dir;
#[cfg(test)]
mod sample;
mod target;
mod timespan;
mod upstream;

use args::{Arguments, CertCommand, Command};
use clap::Parser;
use error::CliError;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error),
    };
    match run(&arguments) {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS, // as in `avouch cert list | head -1`
        Err(error) => {
            output::report(&error);
            failure(&arguments.command)
        }
    }
}

/// A question that the exit status answers has a third one for "nobody knows".
fn failure(command: &Command) -> ExitCode {
    match command {
        Command::Cert(CertCommand::NeedsRenewal(_)) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::Runtime)?;
    runtime.block_on(async {
        match &arguments.command {
            Command::Entry(command) => commands::entry::run(arguments, command).await,
            Command::Token(command) => commands::token::run(arguments, command).await,
            Command::Bundle(command) => commands::bundle::run(arguments, command).await,
            Command::Cert(command) => commands::cert::run(arguments, command).await,
            Command::Check(command) => commands::check::run(arguments, command).await,
            Command::Explain(command) => commands::explain::run(arguments, command).await,
            Command::Edges(edges) => commands::edges::run(arguments, edges).await,
            Command::Tap(tap) => commands::tap::run(arguments, tap).await,
            Command::Whois(whois) => commands::whois::run(arguments, whois).await,
            Command::Policy(command) => commands::policy::run(arguments, command).await,
            Command::Dump(dump) => commands::dump::run(arguments, dump).await,
            Command::Handshake(args) => commands::handshake::run(arguments, args).await,
            Command::Config(command) => commands::config::run(arguments, command),
            Command::Completions(args) => commands::completions::run(args),
        }
    })
}
