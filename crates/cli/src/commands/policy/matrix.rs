//! `avouch policy matrix`: caller × method.

use crate::args::{Arguments, PolicyFile};
use crate::error::CliError;
use crate::output;
use avouch_authz::{CallerMatrix, CallerRow, Outcome, caller_matrix};
use avouch_text::clean;
use std::collections::BTreeMap;
use std::process::ExitCode;

pub(super) async fn run(arguments: &Arguments, file: &PolicyFile) -> Result<ExitCode, CliError> {
    let Some(policy) = super::read(arguments, &file.api, &file.file).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let matrix = caller_matrix(&policy).map_err(|error| CliError::Api(error.to_string()))?;
    if arguments.json {
        output::json(&serde_json::to_value(&matrix).map_err(std::io::Error::from)?)?;
    } else {
        output::text(&render(&matrix))?;
    }
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
                        Outcome::Allowed => "+",
                        Outcome::Audited(_) => "!",
                        Outcome::Refused(_) => ".",
                    },
                );
            text += &format!("{:width$}  {}\n", name(row), marks.collect::<Vec<_>>().join(" "));
        }
    }
    text
}

fn name(row: &CallerRow) -> String {
    super::report::caller(&row.caller, &row.certificates)
}
