//! `avouch policy diff`: what a second policy changes, complete.

use super::{api, report};
use crate::args::{Arguments, PolicyDiff};
use crate::error::CliError;
use crate::output;
use avouch_authz::{Change, ChangeKind, diff};
use serde_json::json;
use std::process::ExitCode;

pub(super) async fn run(arguments: &Arguments, args: &PolicyDiff) -> Result<ExitCode, CliError> {
    let methods = api::methods(arguments, &args.api).await?;
    let before = super::parse(arguments, &args.before, &methods)?;
    let after = super::parse(arguments, &args.after, &methods)?;
    let (Some(before), Some(after)) = (before, after) else { return Ok(ExitCode::FAILURE) };
    let changes = diff(&before, &after).map_err(|error| CliError::Api(error.to_string()))?;
    if arguments.json {
        output::json(&json!({
            "before": { "file": before.source(), "version": before.version() },
            "after": { "file": after.source(), "version": after.version() },
            "changes": changes,
        }))?;
    } else {
        output::text(&render(&changes))?;
    }
    Ok(if args.exit_code && !changes.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn render(changes: &[Change]) -> String {
    let mut text = String::new();
    for (kind, title) in [
        (ChangeKind::NewlyAllowed, "newly allowed"),
        (ChangeKind::NewlyRefused, "newly refused"),
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
