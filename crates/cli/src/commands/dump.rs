//! `avouch dump`: everything there is to read, in one file, for later or for somebody else.

use super::now;
use crate::args::{Arguments, Dump};
use crate::error::CliError;
use crate::fleet;
use crate::{output, timespan};
use avouch_files::{NewFile, Place};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) async fn run(arguments: &Arguments, dump: &Dump) -> Result<ExitCode, CliError> {
    let path = dump.file.clone().unwrap_or_else(default_file);
    if path.as_os_str() == "-" {
        return to_standard_output(arguments, dump).await;
    }
    let cannot_write = |source| CliError::Write { path: path.clone(), source };
    // First of all: nobody should be asked for nothing.
    let file = NewFile::secret(&path).map_err(cannot_write)?;
    let fleet = fleet::gather(arguments, &dump.sources).await?;
    super::say_silences(&fleet)?;
    file.keep(&fleet::pack(&fleet)?, Place::Replaced).map_err(cannot_write)?;
    say_where(arguments, &path, &fleet)?;
    Ok(ExitCode::SUCCESS)
}

async fn to_standard_output(arguments: &Arguments, dump: &Dump) -> Result<ExitCode, CliError> {
    if output::is_terminal() {
        let source = std::io::Error::other("a terminal can't show it; write `avouch dump - > dump.tgz`");
        return Err(CliError::Write { path: "standard output".into(), source });
    }
    let fleet = fleet::gather(arguments, &dump.sources).await?;
    super::say_silences(&fleet)?;
    output::bytes(&fleet::pack(&fleet)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Without colons, which some file systems refuse.
fn default_file() -> PathBuf {
    format!("avouch-{}.tgz", timespan::rfc3339(now()).replace(':', "-")).into()
}

fn say_where(arguments: &Arguments, path: &Path, fleet: &fleet::Fleet) -> Result<(), CliError> {
    let silent = fleet.members.iter().filter(|member| !member.problem.is_empty()).count();
    if arguments.json {
        let (members, file) = (fleet.members.len(), path.display().to_string());
        output::json(&json!({ "file": file, "workloads": members, "silent": silent }))?;
    } else {
        output::text(&format!("{}\n", avouch_text::escape(&path.display().to_string())))?;
    }
    Ok(())
}
