//! `avouch`, the operator's command; the code is in the library, which `deploy/docker/programs` links as well.

use std::process::ExitCode;

fn main() -> ExitCode {
    avouch_cli::main()
}
