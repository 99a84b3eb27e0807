//! `avouch config show`: asks the program itself, since only it knows its own section and defaults.

use crate::error::CliError;
use crate::output::{self, Output};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Runs `program` with `flags` and the flag that makes it show its configuration.
pub(crate) fn show(program: &Path, flags: &[OsString], output: Output) -> Result<ExitCode, CliError> {
    let program = find(program);
    let is_json = output == Output::Json;
    let mut command = Command::new(&program);
    command.arg(if is_json { "--show-config=json" } else { "--show-config" }).args(flags);
    let failed = |source| CliError::Program { program: program.clone(), source };
    // What it says passes the filter, too: values come from files and variables that others may write.
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (said, complained) = (child.stdout.take(), child.stderr.take());
    let written = std::thread::scope(|scope| {
        scope.spawn(|| complained.map(|from| output::pass_on(from, true, false)));
        said.map_or(Ok(()), |from| output::pass_on(from, false, is_json))
    });
    let status = child.wait().map_err(failed)?;
    written?;
    Ok(match status.code() {
        Some(0) => ExitCode::SUCCESS,
        Some(64) => ExitCode::from(2), // wrong usage, as programs of ours say it
        _ => ExitCode::FAILURE,
    })
}

/// The program to run: a name is looked for beside this program, and else left to the PATH.
fn find(program: &Path) -> PathBuf {
    let is_name = program.components().count() == 1 && program.file_name() == Some(program.as_os_str());
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(program)));
    match beside.filter(|path| is_name && path.is_file()) {
        Some(path) => path,
        None => program.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_as_it_is_and_a_name_is_looked_for_beside_first() {
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap();
        assert_eq!(find(Path::new(name)), own);
        assert_eq!(find(Path::new("no-such-program")), Path::new("no-such-program"));
        let path = Path::new("./").join(name);
        assert_eq!(find(&path), path);
    }
}
