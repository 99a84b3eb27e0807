//! `avouch policy check` and `avouch policy test`: would it load, and do its tests hold?

use super::api::ApiSource;
use super::file;
use crate::error::CliError;
use crate::output::{Output, Text};
use avouch_text::clean;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

pub(crate) async fn check(path: &Path, api: &ApiSource, output: Output) -> Result<ExitCode, CliError> {
    let Some(policy) = file::read(path, api, output).await? else { return Ok(ExitCode::FAILURE) };
    let unused: Vec<String> = policy.unused().iter().map(ToString::to_string).collect();
    let json = || {
        json!({
            "file": policy.source(),
            "version": policy.version(),
            "good": true,
            "tests": policy.tests(),
            "audit": policy.audits(),
            "unused": unused,
            "problems": [],
        })
    };
    let warnings = || {
        let audit = "some of it is in audit mode: it records there, and does not refuse".to_owned();
        let unused = unused.iter().map(|line| format!("without effect: {line}"));
        Text::Warnings(unused.chain(policy.audits().then_some(audit)).collect())
    };
    output.show(json, warnings)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn test(path: &Path, api: &ApiSource, output: Output) -> Result<ExitCode, CliError> {
    // A policy is there only if all of its tests hold.
    let Some(policy) = file::read(path, api, output).await? else { return Ok(ExitCode::FAILURE) };
    let json = || json!({ "file": policy.source(), "good": true, "tests": policy.tests(), "problems": [] });
    let text = || match policy.tests() {
        0 => format!("{} has no [[test]]\n", clean(policy.source())),
        1 => "1 test holds\n".to_owned(),
        tests => format!("{tests} tests hold\n"),
    };
    output.show(json, text)?;
    Ok(ExitCode::SUCCESS)
}
