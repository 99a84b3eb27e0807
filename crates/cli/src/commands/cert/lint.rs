//! `avouch cert lint`: findings, one a line.

use super::file;
use crate::commands::{exit_code, now};
use crate::error::CliError;
use crate::input;
use crate::lint::{self, Finding, LintedFile, Severity};
use crate::output::Output;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) fn run(files: &[PathBuf], output: Output) -> Result<ExitCode, CliError> {
    let files: Vec<_> = files.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let findings = lint::lint(&files, now());
    let lines = || findings.iter().map(|finding| finding.to_line() + "\n").collect::<String>();
    output.show(|| findings.iter().map(Finding::to_json).collect::<Vec<_>>(), lines)?;
    Ok(exit_code(findings.iter().all(|finding| finding.severity != Severity::Error)))
}

fn read(path: &Path) -> Result<LintedFile, CliError> {
    let found = file::document(path, &input::file_or_stdin(path)?)?;
    if found.certificates.is_empty() && found.bundle.is_none() {
        return Err(file::only_requests(path));
    }
    let is_bundle = found.bundle.is_some();
    Ok(LintedFile { name: path.display().to_string(), certificates: found.certificates, is_bundle })
}
