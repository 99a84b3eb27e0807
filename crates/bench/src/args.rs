//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures avouch beside its peers, in turns, and reports ratios.
#[derive(Debug, Parser)]
#[command(name = "avouch-bench", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What this process is started for by a run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of a run.
    #[command(flatten)]
    pub options: Options,
}

/// The options of a run.
#[derive(Debug, Args)]
pub struct Options {
    /// Groups to measure. Default: all
    #[arg(value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Fewer cases and rounds: all groups in less than three minutes
    #[arg(long)]
    pub quick: bool,
    /// Also runs an older build in turns with today's: the path of its avouch-bench, or a revision, which is built first
    #[arg(long, value_name = "BINARY-OR-REV")]
    pub against: Option<String>,
    /// Also writes the report as JSON to this file, with the numbers of every round
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Lists the groups
    #[arg(long)]
    pub list: bool,
}

/// What a process is started for by a run, and what is no run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Counts instructions and allocations in a development build, and compares with those recorded; run by `./just counts`
    Guard {
        /// Records what is counted instead
        #[arg(long)]
        record: bool,
    },
    /// Becomes a program that ends with the run
    #[command(hide = true)]
    Exec(Exec),
    /// Plays a role
    #[command(hide = true)]
    Role {
        /// The role.
        name: String,
        /// Its options, in JSON.
        options: String,
    },
}

/// How a program is started.
#[derive(Debug, Args)]
pub struct Exec {
    /// The process that starts it
    #[arg(long)]
    pub parent: u32,
    /// The core that it may use
    #[arg(long)]
    pub core: Option<usize>,
    /// The program
    pub program: OsString,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}
