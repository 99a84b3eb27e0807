//! The benchmarks' program; everything it does is in the library.

use std::process::ExitCode;

use avouch_bench::args::{Arguments, Command};
use avouch_bench::counts::guard;
use avouch_bench::roles::{self, exec};
use avouch_bench::{Error, run};
use clap::Parser as _;

fn main() -> ExitCode {
    let Arguments { command, options } = Arguments::parse();
    let outcome = match command {
        Some(Command::Exec(it)) => {
            Err(Error::system("start a process")(exec::exec(it.parent, it.core, &it.program, &it.args)))
        }
        Some(Command::Guard { record }) => guard::run(record),
        Some(Command::Role { name, options }) => role(&name, &options),
        None => run::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn role(name: &str, options: &str) -> Result<(), Error> {
    if let Some(done) = roles::run_alone(name, options) {
        return done;
    }
    let runtime = roles::runtime(name).enable_all().build();
    runtime.map_err(Error::system("start a runtime"))?.block_on(roles::run(name, options))
}
