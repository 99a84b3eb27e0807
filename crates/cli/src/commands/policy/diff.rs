//! `avouch policy diff`: what a second policy changes, complete.

use super::api::{self, ApiSource};
use super::{file, report};
use crate::commands::exit_code;
use crate::error::CliError;
use crate::output::{self, Output};
use avouch_authz::{Change, ChangeKind, diff};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Shows what `after` changes; with `fail_on_change` the exit status says whether it changes anything.
pub(crate) async fn run(
    before: &Path,
    after: &Path,
    api: &ApiSource,
    fail_on_change: bool,
    output: Output,
) -> Result<ExitCode, CliError> {
    let methods = api::methods(api).await?;
    let before = file::parse(before, &methods, output)?;
    let after = file::parse(after, &methods, output)?;
    let (Some(before), Some(after)) = (before, after) else { return Ok(ExitCode::FAILURE) };
    let changes = diff(&before, &after).map_err(|error| CliError::Api(error.to_string()))?;
    let json = || {
        json!({
            "before": { "file": before.source(), "version": before.version() },
            "after": { "file": after.source(), "version": after.version() },
            "changes": changes,
        })
    };
    output.show(json, || render(&changes))?;
    Ok(exit_code(!fail_on_change || changes.is_empty()))
}

fn render(changes: &[Change]) -> String {
    let mut text = String::new();
    for (kind, title) in [
        (ChangeKind::NewlyAllowed, "newly allowed"),
        (ChangeKind::NewlyDenied, "newly refused"),
        (ChangeKind::Audit, "goes through either way, but differently on record"),
    ] {
        let of_kind: Vec<_> = changes.iter().filter(|change| change.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let rows: Vec<_> = of_kind
            .iter()
            .map(|change| {
                [
                    report::caller(&change.caller, &change.certificates),
                    change.method.to_owned(),
                    format!("{} -> {}", change.before, change.after),
                ]
            })
            .collect();
        text += &format!(
            "{title}: {}\n{}\n",
            of_kind.len(),
            output::table(["CALLER", "METHOD", "OUTCOME"], &rows)
        );
    }
    if text.is_empty() { "no call is treated differently\n".to_owned() } else { text }
}
