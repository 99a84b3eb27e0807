//! `avouch explain`: why was it refused?

use crate::args::{Arguments, Explain};
use crate::error::CliError;
use crate::explain::{self, Explanation};
use crate::{fleet, output};
use std::process::ExitCode;

pub(crate) async fn run(arguments: &Arguments, command: &Explain) -> Result<ExitCode, CliError> {
    let Some(what) = command.what() else { return Ok(ExitCode::from(2)) };
    if let Some(explanation) = explain::offline(&what) {
        return show(arguments, &explanation);
    }
    let fleet = fleet::gather(arguments, &command.sources).await?;
    match explain::explain(&fleet, &what) {
        Ok(explanation) => show(arguments, &explanation),
        Err(missing) if arguments.json => {
            output::json(&missing.to_json())?;
            Ok(ExitCode::FAILURE)
        }
        Err(missing) => Err(CliError::NotOnRecord(Box::new(missing))),
    }
}

fn show(arguments: &Arguments, explanation: &Explanation) -> Result<ExitCode, CliError> {
    match arguments.json {
        true => output::json(&explanation.json)?,
        false => output::text(&explanation.text)?,
    }
    Ok(ExitCode::SUCCESS)
}
