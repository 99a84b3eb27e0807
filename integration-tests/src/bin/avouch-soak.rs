//! `avouch-soak`: wears the demo's market down. Called by `./just soak` and `./just crashes`.

use std::process::ExitCode;

use avouch_demo::entry::{self, Launch};
use avouch_integration_tests::soak::{self, SoakOptions};
use clap::{Parser, Subcommand};

/// Keeps orders flowing while processes are killed, and audits what is left. Exit status 0 only if all held.
#[derive(Debug, Parser)]
#[command(name = "avouch-soak", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: SoakOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Becomes PROGRAM, and ends with the soak.
    #[command(hide = true)]
    Launch(Launch),
}

fn main() -> ExitCode {
    let Arguments { command, options } = Arguments::parse();
    match command {
        Some(Command::Launch(launch)) => launch.become_program(),
        None => entry::to_exit_code(async |console| soak::soak(entry::paths()?, options, console).await),
    }
}
