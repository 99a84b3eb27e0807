//! `avouch tap`: the records of all processes, those in memory now or each as it is made.

mod follow;
mod view;

use super::{exit_code, warn_of_silences};
use crate::error::CliError;
use crate::output;
use crate::sources::Sources;
use std::process::ExitCode;

pub(crate) use follow::run as follow;
pub(crate) use view::{RecordFormat, RecordView};

/// Shows the records that everybody has now.
pub(crate) async fn list(sources: &Sources, view: &RecordView) -> Result<ExitCode, CliError> {
    let fleet = sources.collect().await?;
    warn_of_silences(&fleet)?;
    let lines = view.lines(&fleet)?;
    if lines.is_empty() {
        output::warn("no record fits");
    }
    output::text(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(exit_code(!lines.is_empty()))
}
