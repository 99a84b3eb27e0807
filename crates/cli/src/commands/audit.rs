//! `avouch audit`: what administrators did.

use super::now;
use super::proto::{json_time, time};
use crate::error::CliError;
use crate::output::{self, Output, Text};
use avouch_api::admin::v1::{AuditRecord, ListAuditRequest};
use avouch_fleet::{AdminSocket, list_audit};
use avouch_time::{ConfigDuration, parse_rfc3339, rfc3339};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime};
use tonic::Code;

/// The beginning of what is listed: so long ago, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(Duration),
    Time(SystemTime),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(time) = parse_rfc3339(text) {
            return Ok(Self::Time(time));
        }
        let duration = text.parse::<ConfigDuration>();
        duration.map(|duration| Self::Ago(duration.into())).map_err(|error| {
            format!("{error}; write how long ago, as in 2h, or a time, as in 2026-11-25T12:00:00Z")
        })
    }
}

impl Since {
    fn time(self) -> SystemTime {
        match self {
            Self::Ago(ago) => now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            Self::Time(time) => time,
        }
    }
}

/// Lists what was done since then, oldest first, as it happened.
pub(crate) async fn run(
    admin: &AdminSocket,
    since: Option<Since>,
    output: Output,
) -> Result<ExitCode, CliError> {
    let request = ListAuditRequest { since: since.map(|since| since.time().into()), ..Default::default() };
    let found = list_audit(&mut admin.connect().await?, request).await;
    let mut acts: Vec<_> = found.map_err(|status| CliError::refused(&status, too_old(&status)))?;
    acts.reverse();
    let acts: Vec<_> = acts.into_iter().map(Act::read).collect::<Result<_, _>>()?;
    let table = || {
        if acts.is_empty() {
            return Text::Hint("nothing was done in that time".to_owned());
        }
        let rows: Vec<_> = acts.iter().map(Act::columns).collect();
        output::table(["TIME", "WHO", "ACT", "SUBJECT", "REASON"], &rows).into()
    };
    output.show(|| acts.iter().map(Act::to_json).collect::<Value>(), table)?;
    Ok(ExitCode::SUCCESS)
}

/// The help where the issuer does not know what it was asked for.
pub(super) fn too_old(status: &tonic::Status) -> Option<String> {
    (status.code() == Code::Unimplemented)
        .then(|| "the issuer is of an older version, which knows no revocations: update it first".to_owned())
}

/// One administrative act.
struct Act {
    record: AuditRecord,
    at: Option<SystemTime>,
}

impl Act {
    fn read(record: AuditRecord) -> Result<Self, CliError> {
        Ok(Self { at: time(record.at.as_ref())?, record })
    }

    fn columns(&self) -> [String; 5] {
        let AuditRecord { actor, act, subject, reason, .. } = &self.record;
        let at = self.at.map(rfc3339).unwrap_or_default();
        [at, actor.clone(), act.clone(), subject.clone(), reason.clone()]
    }

    fn to_json(&self) -> Value {
        let AuditRecord { id, actor, act, subject, before, after, reason, .. } = &self.record;
        json!({
            "id": id,
            "at": json_time(self.at),
            "actor": actor,
            "act": act,
            "subject": subject,
            "before": embedded(before),
            "after": embedded(after),
            "reason": reason,
        })
    }
}

/// JSON within a text, as a value; what is not JSON stays a text.
fn embedded(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_duration_or_a_time_and_nothing_else() {
        assert_eq!("2h".parse(), Ok(Since::Ago(Duration::from_secs(7_200))));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!("2027-01-15T08:00:00Z".parse(), Ok(Since::Time(time)));
        for text in ["", "2", "yesterday", "-2h", "2027-01-15"] {
            let error = text.parse::<Since>().unwrap_err();
            assert!(error.contains("as in 2h"), "{text}: {error}");
        }
    }

    #[test]
    fn what_was_there_before_and_after_is_json_within_the_json() {
        assert_eq!(embedded(r#"{"a":1}"#), json!({ "a": 1 }));
        assert_eq!((embedded(""), embedded("x{")), (Value::Null, json!("x{")));
    }
}
