//! `avouch check`: is all well, and if not, what is at the bottom of it?

use crate::args::{Arguments, Check};
use crate::checks::Report;
use crate::error::CliError;
use crate::{fleet, output};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks of `--wait`.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(arguments: &Arguments, check: &Check) -> Result<ExitCode, CliError> {
    let over = Instant::now() + check.wait.unwrap_or_default();
    let mut waiting_for = Vec::new();
    loop {
        let fleet = fleet::gather(arguments, &check.sources).await?;
        let report = Report::of(&fleet, &check.only);
        if !report.passes() && Instant::now() + AGAIN < over {
            let bad = report.bad();
            if bad != waiting_for {
                output::hint(&format!("waiting for {}", bad.join(", ")));
                waiting_for = bad;
            }
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        match arguments.json {
            true => output::json(&report.to_json())?,
            false => output::page(&report.to_page(output::colours()))?,
        }
        return Ok(if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
}
