//! `avouch policy matrix`: caller × method.

use super::api::ApiSource;
use super::{file, report};
use crate::error::CliError;
use crate::output::Output;
use avouch_authz::{CallOutcome, CallerMatrix, CallerRow, caller_matrix};
use avouch_text::clean;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

pub(crate) async fn run(path: &Path, api: &ApiSource, output: Output) -> Result<ExitCode, CliError> {
    let Some(policy) = file::read(path, api, output).await? else { return Ok(ExitCode::FAILURE) };
    let matrix = caller_matrix(&policy).map_err(|error| CliError::Api(error.to_string()))?;
    output.show(|| &matrix, || render(&matrix))?;
    Ok(ExitCode::SUCCESS)
}

/// A block per service, a line per caller, a column per method, which the head numbers: names are too long for columns.
fn render(matrix: &CallerMatrix) -> String {
    let mut services: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for (column, path) in matrix.methods.iter().enumerate() {
        let (service, method) = path.rsplit_once('/').unwrap_or(("", path));
        services.entry(service).or_default().push((column, method));
    }
    let mut text = String::from("+ allowed   ! refused, but only recorded (audit)   . refused\n");
    let width = matrix.rows.iter().map(|row| name(row).chars().count()).max().unwrap_or_default();
    for (service, methods) in services {
        text += &format!("\n{}\n", clean(service.trim_start_matches('/')));
        for (number, (_, method)) in (1..).zip(&methods) {
            let method = clean(method);
            text += &format!("{:width$}  {}{number} {method}\n", "", "| ".repeat(number - 1));
        }
        for row in &matrix.rows {
            let marks =
                methods.iter().filter_map(|(column, _)| row.outcomes.get(*column)).map(
                    |outcome| match outcome {
                        CallOutcome::Allowed => "+",
                        CallOutcome::Audited(_) => "!",
                        CallOutcome::Denied(_) => ".",
                    },
                );
            text += &format!("{:width$}  {}\n", name(row), marks.collect::<Vec<_>>().join(" "));
        }
    }
    text
}

fn name(row: &CallerRow) -> String {
    report::caller(&row.caller, &row.certificates)
}
