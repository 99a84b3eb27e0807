//! `avouch check`: runs all checks of the fleet and shows the root cause of each failure.

use crate::checks::{Report, Selection};
use crate::error::CliError;
use crate::output::{self, Output};
use crate::sources::Sources;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// The polling interval of `--wait`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at what `only` selects, again and again for as long as `wait` until nothing is bad any more.
pub(crate) async fn run(
    sources: &Sources,
    only: &[Selection],
    wait: Duration,
    output: Output,
) -> Result<ExitCode, CliError> {
    let end = Instant::now() + wait;
    let mut waiting_for = Vec::new();
    loop {
        let fleet = sources.collect().await?;
        let report = Report::of(&fleet, only);
        if !report.passes() && Instant::now() + LOOK_EVERY < end {
            let bad = report.bad();
            if bad != waiting_for {
                output::hint(&format!("waiting for {}", bad.join(", ")));
                waiting_for = bad;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        output.show(|| report.to_json(), || report.to_page(output::colours()))?;
        return Ok(super::exit_code(report.passes()));
    }
}
