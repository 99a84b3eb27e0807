//! `avouch revocations`: what is revoked, why, and by whom.

use super::audit::too_old;
use super::now;
use super::revoke::Subject;
use crate::error::CliError;
use crate::output::{self, Output, Text};
use avouch_api::admin::v1::ListRevocationsRequest;
use avouch_fleet::{AdminSocket, RevocationRecord, list_revocations, read_revocation};
use avouch_time::{parse_rfc3339, relative};
use serde_json::json;
use std::process::ExitCode;

/// Lists revocations, newest first: with `all` also those that have ended or were undone, with `about` only those of one
/// subject.
pub(crate) async fn run(
    admin: &AdminSocket,
    about: Option<&Subject>,
    all: bool,
    output: Output,
) -> Result<ExitCode, CliError> {
    let about = about.map(ToString::to_string).unwrap_or_default();
    let request = ListRevocationsRequest { include_ended: all, about, ..Default::default() };
    let found = list_revocations(&mut admin.connect().await?, request, usize::MAX).await;
    let (found, lost) = found.map_err(|status| CliError::refused(&status, too_old(&status)))?;
    let found: Vec<_> = found.into_iter().map(read_revocation).collect();
    let table = || {
        if found.is_empty() {
            let more = if all { "" } else { "; --all shows those that have ended or were undone" };
            return Text::Hint(format!("nothing is revoked{more}"));
        }
        let rows: Vec<_> = found.iter().map(columns).collect();
        output::table(["ID", "SUBJECT", "OWNER", "MADE", "BY", "ENDS", "REASON"], &rows).into()
    };
    output.show(|| json!({ "revocations": &found, "lost_changes": lost }), table)?;
    if lost > 0 {
        output::warn(&format!(
            "{lost} changes from before the restore are known to nobody any more: `avouch explain AV-309`"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn columns(revocation: &RevocationRecord) -> [String; 7] {
    let moment = |at: &str| parse_rfc3339(at).map(|at| relative(at, now())).unwrap_or_default();
    let RevocationRecord { id, subject, spiffe_id, reason, actor, .. } = revocation;
    let owner = if subject == spiffe_id { String::new() } else { spiffe_id.clone() };
    let ends = match (revocation.undone_at.as_str(), revocation.expires_at.as_str()) {
        ("", "") if subject.starts_with("serial:") => "with its certificates".to_owned(),
        ("", "") => "when it is undone".to_owned(),
        ("", at) => moment(at),
        (at, _) => format!("undone {} by {}", moment(at), revocation.undone_by),
    };
    let subject = if subject.is_empty() { "not known" } else { subject };
    [
        id.to_string(),
        subject.to_owned(),
        owner,
        moment(&revocation.created_at),
        actor.clone(),
        ends,
        reason.clone(),
    ]
}
