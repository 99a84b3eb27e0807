//! `avouch explain`: the reason of a refusal.

use crate::error::CliError;
use crate::explain::{self, ExplainTarget, Explanation};
use crate::output::Output;
use crate::sources::Sources;
use std::process::ExitCode;

pub(crate) async fn run(
    target: &ExplainTarget,
    sources: &Sources,
    output: Output,
) -> Result<ExitCode, CliError> {
    if let Some(explanation) = explain::offline(target) {
        return show(&explanation, output);
    }
    let fleet = sources.collect().await?;
    match explain::explain(&fleet, target) {
        Ok(explanation) => show(&explanation, output),
        // With JSON output, the lists of who was asked and who did not answer are a result too.
        Err(missing) if output == Output::Json => {
            output.show(|| missing.to_json(), String::new)?;
            Ok(ExitCode::FAILURE)
        }
        Err(missing) => Err(CliError::NotOnRecord { message: missing.to_string(), help: missing.help() }),
    }
}

fn show(explanation: &Explanation, output: Output) -> Result<ExitCode, CliError> {
    output.show(|| &explanation.json, || explanation.text.clone())?;
    Ok(ExitCode::SUCCESS)
}
