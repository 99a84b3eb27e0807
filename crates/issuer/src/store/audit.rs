//! The audit log: every administrative act, written in the transaction of the act itself.

use super::Page;
use super::rows::limit;
use avouch_sqlite::rusqlite;
use avouch_time::timestamp::{from_unix_millis, unix_millis};
use rusqlite::{Connection, params};
use std::time::{Duration, SystemTime};

/// How long an act is kept: more than a year, as audits of a year's business want it.
const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// Who acts, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// `uid 1000`, a SPIFFE ID, or `issuer`.
    pub actor: String,
    /// The actor's own words; empty: none.
    pub reason: String,
    /// The time.
    pub at: SystemTime,
}

impl By {
    /// An act without words.
    pub fn new(actor: impl Into<String>, at: SystemTime) -> Self {
        Self { actor: actor.into(), reason: String::new(), at }
    }
}

/// One administrative act on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number; later acts have greater ones.
    pub id: i64,
    /// Who did it, when and why.
    pub by: By,
    /// As in `entry.create`.
    pub act: String,
    /// What it was done to.
    pub subject: String,
    /// JSON of what was there before; empty: nothing.
    pub before: String,
    /// JSON of what was there after; empty: nothing.
    pub after: String,
}

/// Writes an act. Secrets never get here: of a token the expiry alone.
pub(super) fn write(
    db: &Connection,
    by: &By,
    act: &str,
    subject: &str,
    before: Option<&serde_json::Value>,
    after: Option<&serde_json::Value>,
) -> rusqlite::Result<()> {
    let text = |value: Option<&serde_json::Value>| value.map(ToString::to_string).unwrap_or_default();
    db.prepare_cached(
        "INSERT INTO audit (at_ms, actor, act, subject, before, after, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![unix_millis(by.at), by.actor, act, subject, text(before), text(after), by.reason])?;
    Ok(())
}

/// Acts since a time, the latest first.
pub(super) fn list(
    db: &Connection,
    since: SystemTime,
    page: &Page<i64>,
) -> rusqlite::Result<Vec<AuditRecord>> {
    db.prepare_cached(
        "SELECT id, at_ms, actor, act, subject, before, after, reason FROM audit
          WHERE at_ms >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
    )?
    .query_map(params![unix_millis(since), page.after.unwrap_or(i64::MAX), limit(page.limit)], |row| {
        Ok(AuditRecord {
            id: row.get(0)?,
            by: By { at: from_unix_millis(row.get(1)?), actor: row.get(2)?, reason: row.get(7)? },
            act: row.get(3)?,
            subject: row.get(4)?,
            before: row.get(5)?,
            after: row.get(6)?,
        })
    })?
    .collect()
}

pub(super) fn prune(db: &Connection, now: SystemTime) -> rusqlite::Result<usize> {
    let before = now.checked_sub(KEPT).unwrap_or(SystemTime::UNIX_EPOCH);
    db.prepare_cached("DELETE FROM audit WHERE at_ms < ?1")?.execute([unix_millis(before)])
}
