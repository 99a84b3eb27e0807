//! `avouch dump`: everything there is to read, in one file, for later or for somebody else.

use super::{now, warn_of_silences};
use crate::error::CliError;
use crate::output::{self, Output};
use crate::sources::Sources;
use avouch_files::{IfExists, NewFile};
use avouch_fleet::{Fleet, pack_dump};
use avouch_time::rfc3339;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes a dump into `file`; `-` is standard output.
pub(crate) async fn run(
    file: Option<&Path>,
    sources: &Sources,
    output: Output,
) -> Result<ExitCode, CliError> {
    let path = file.map_or_else(default_file, Path::to_owned);
    if path.as_os_str() == "-" {
        return to_standard_output(sources).await;
    }
    let cannot_write = |source| CliError::Write { path: path.clone(), source };
    // Checked before any process is asked, since the answers could not be written.
    let file = NewFile::secret(&path).map_err(cannot_write)?;
    let fleet = sources.collect().await?;
    warn_of_silences(&fleet)?;
    file.keep(&pack_dump(&fleet)?, IfExists::Replace).map_err(cannot_write)?;
    output.show(
        || summary(&path, &fleet),
        || format!("{}\n", avouch_text::escape(&path.display().to_string())),
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn to_standard_output(sources: &Sources) -> Result<ExitCode, CliError> {
    if output::is_terminal() {
        let source = std::io::Error::other("a terminal can't show it; write `avouch dump - > dump.tgz`");
        return Err(CliError::Write { path: "standard output".into(), source });
    }
    let fleet = sources.collect().await?;
    warn_of_silences(&fleet)?;
    output::bytes(&pack_dump(&fleet)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The default name: without colons, which some file systems refuse.
fn default_file() -> PathBuf {
    format!("avouch-{}.tgz", rfc3339(now()).replace(':', "-")).into()
}

fn summary(path: &Path, fleet: &Fleet) -> Value {
    let silent = fleet.members.iter().filter(|member| !member.problem.is_empty()).count();
    json!({ "file": path.display().to_string(), "workloads": fleet.members.len(), "silent": silent })
}
