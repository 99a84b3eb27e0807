//! `avouch cert lint`: findings, one a line.

use super::document;
use crate::args::{Arguments, CertLint};
use crate::commands::now;
use crate::error::CliError;
use crate::lint::{self, Severity, Sheet};
use crate::{input, output};
use serde_json::Value;
use std::process::ExitCode;

pub(super) fn run(arguments: &Arguments, args: &CertLint) -> Result<ExitCode, CliError> {
    let sheets: Result<Vec<Sheet>, CliError> = args
        .files
        .iter()
        .map(|path| {
            let found = document(path, &input::file_or_stdin(path)?)?;
            if found.certificates.is_empty() && found.bundle.is_none() {
                return Err(super::only_requests(path));
            }
            let is_bundle = found.bundle.is_some();
            Ok(Sheet { file: path.display().to_string(), certificates: found.certificates, is_bundle })
        })
        .collect();
    let findings = lint::lint(&sheets?, now());
    if arguments.json {
        output::json(&Value::from(findings.iter().map(lint::Finding::to_json).collect::<Vec<_>>()))?;
    } else {
        let lines: String = findings.iter().map(|finding| finding.to_line() + "\n").collect();
        output::text(&lines)?;
    }
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
