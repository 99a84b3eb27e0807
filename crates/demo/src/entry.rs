//! What the programs that run the market have in common: how they start themselves, and how they end.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::console::{Console, Mark};
use crate::launch;
use crate::paths::Paths;
use crate::setup::SetupError;

/// The exit status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// The arguments of the hidden command by which a program starts the processes of the market, see [`launch`].
#[derive(Debug, Args)]
pub struct Launch {
    parent: u32,
    program: OsString,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

impl Launch {
    /// Becomes the program. Returns only when that failed.
    #[must_use]
    pub fn become_program(&self) -> ExitCode {
        let error = launch::launch(self.parent, &self.program, &self.args);
        let _ = writeln!(std::io::stderr(), "cannot start {}: {error}", self.program.display());
        ExitCode::FAILURE
    }
}

/// The paths of the demo, found from the working directory.
///
/// # Errors
/// When this is not avouch's repository.
pub fn paths() -> Result<Paths, SetupError> {
    Paths::of(Path::new(".")).map_err(system("find the repository"))
}

/// Runs `work` to its end, says what went wrong, and makes an exit status of whether everything held.
///
/// On one thread: what it starts must be started by the thread that lives as long as the program, see [`launch`].
pub fn to_exit_code(work: impl AsyncFnOnce(&Console) -> Result<bool, SetupError>) -> ExitCode {
    let console = Console::new();
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(work(&console));
            // A read of standard input that nobody ends must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(source) => Err(system("start a runtime")(source)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            console.line(Mark::Failed, &error.to_string());
            match error {
                SetupError::Stopped(_) => ExitCode::from(INTERRUPTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// What the system refused while `action` was done.
pub fn system(action: &str) -> impl FnOnce(std::io::Error) -> SetupError {
    let action = action.to_owned();
    move |source| SetupError::System { action, source }
}
