//! The SQL of each store operation, on a connection that the caller has put in a transaction where one is needed.
//!
//! Outcomes such as "not there" and "not allowed" are values and not errors, so that one caller's refusal never rolls
//! back the batch it shares with others.

use super::rows::{
    CERTIFICATE_COLUMNS, limit, read_certificate, read_spiffe_id, read_strings, strings_to_json,
};
use super::{
    By, CertificateFilter, CertificateRecord, Commit, CommitOutcome, Counts, Entry, EntryId, KeyHash,
    NewEntry, NewToken, Origin, Page, TokenHash, TokenState, audit, lineage, revoke_queries,
};
use avouch_spiffe::SpiffeId;
use avouch_sqlite::rusqlite;
use avouch_time::timestamp::{from_unix_millis, unix_millis};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::time::{Duration, SystemTime};

type Result<T> = rusqlite::Result<T>;

pub(super) fn create_entry(db: &Connection, entry: &NewEntry, by: &By) -> Result<Option<Entry>> {
    let added = db
        .prepare_cached(
            "INSERT INTO entries
               (spiffe_id, svid_ttl_ms, recovery_window_ms, dns_names, created_at_ms, on_fork, recovery_limit)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (spiffe_id) DO NOTHING",
        )?
        .execute(params![
            entry.spiffe_id.as_str(),
            entry.svid_ttl.map(duration_millis),
            entry.recovery_window.map(duration_millis),
            strings_to_json(&entry.dns_names),
            unix_millis(entry.created_at),
            if entry.revokes_forks { REVOKE } else { "alert" },
            entry.recovery_limit,
        ])?;
    if added == 0 {
        return Ok(None);
    }
    let id = EntryId(db.last_insert_rowid());
    audit::write(db, by, "entry.create", entry.spiffe_id.as_str(), None, Some(&entry_json(entry)))?;
    Ok(Some(Entry { id, entry: entry.clone() }))
}

/// An entry as the audit log keeps it.
fn entry_json(entry: &NewEntry) -> serde_json::Value {
    serde_json::json!({
        "svid_ttl_ms": entry.svid_ttl.map(duration_millis),
        "recovery_window_ms": entry.recovery_window.map(duration_millis),
        "dns_names": entry.dns_names,
        "on_fork": if entry.revokes_forks { REVOKE } else { "alert" },
        "recovery_limit": entry.recovery_limit,
    })
}

/// What an entry says of forks, where it does more than report them.
const REVOKE: &str = "revoke";
const ENTRY_COLUMNS: &str =
    "id, spiffe_id, svid_ttl_ms, recovery_window_ms, dns_names, created_at_ms, on_fork, recovery_limit";

pub(super) fn entry(db: &Connection, spiffe_id: &str) -> Result<Option<Entry>> {
    db.prepare_cached(&format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE spiffe_id = ?1"))?
        .query_row([spiffe_id], read_entry)
        .optional()
}

pub(super) fn entry_by_id(db: &Connection, id: EntryId) -> Result<Option<Entry>> {
    db.prepare_cached(&format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE id = ?1"))?
        .query_row([id.0], read_entry)
        .optional()
}

pub(super) fn entries(db: &Connection, page: &Page<SpiffeId>) -> Result<Vec<Entry>> {
    // Less than every SPIFFE ID. A condition that holds for the first page too lets SQLite start in the index at its row.
    let after = page.after.as_ref().map_or("", SpiffeId::as_str);
    db.prepare_cached(&format!(
        "SELECT {ENTRY_COLUMNS} FROM entries WHERE spiffe_id > ?1 ORDER BY spiffe_id LIMIT ?2"
    ))?
    .query_map(params![after, limit(page.limit)], read_entry)?
    .collect()
}

pub(super) fn delete_entry(db: &Connection, spiffe_id: &str, by: &By) -> Result<bool> {
    let Some(before) = entry(db, spiffe_id)? else { return Ok(false) };
    db.prepare_cached("DELETE FROM entries WHERE spiffe_id = ?1")?.execute([spiffe_id])?;
    audit::write(db, by, "entry.delete", spiffe_id, Some(&entry_json(&before.entry)), None)?;
    Ok(true)
}

pub(super) fn create_token(db: &Connection, token: &NewToken, by: &By) -> Result<bool> {
    let added = db
        .prepare_cached(
            "INSERT INTO tokens (hash, entry_id, created_at_ms, expires_at_ms)
             SELECT ?1, id, ?3, ?4 FROM entries WHERE id = ?2",
        )?
        .execute(params![
            token.hash.0,
            token.entry.0,
            unix_millis(token.created_at),
            unix_millis(token.expires_at)
        ])?;
    if let Some(of) = entry_by_id(db, token.entry)?.filter(|_| added == 1) {
        let after = serde_json::json!({ "expires_at_ms": unix_millis(token.expires_at) });
        audit::write(db, by, "token.create", of.entry.spiffe_id.as_str(), None, Some(&after))?;
    }
    Ok(added == 1)
}

pub(super) fn token(
    db: &Connection,
    token: &TokenHash,
    key: &KeyHash,
    now: SystemTime,
) -> Result<TokenState> {
    let row = db
        .prepare_cached("SELECT entry_id, expires_at_ms, bound_key FROM tokens WHERE hash = ?1")?
        .query_row([token.0], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<[u8; 32]>>(2)?))
        })
        .optional()?;
    Ok(match row {
        None => TokenState::Unknown,
        Some((_, expires_at, _)) if expires_at <= unix_millis(now) => TokenState::Expired,
        Some((entry, _, Some(bound))) if bound != key.0 => TokenState::UsedByAnotherKey(EntryId(entry)),
        Some((entry, _, _)) => TokenState::Usable(EntryId(entry)),
    })
}

/// Checks first, writes last: an outcome other than `Done` and `Forked` has recorded no certificate and consumed no token.
pub(super) fn commit(db: &Connection, commit: &Commit) -> Result<CommitOutcome> {
    let certificate = &commit.certificate;
    let entry = match certificate.entry {
        Some(id) => match entry_by_id(db, id)? {
            Some(entry) => Some(entry),
            None => return Ok(CommitOutcome::EntryGone),
        },
        None => None,
    };
    let (parent, now) = (certificate.parent.as_deref(), certificate.issued_at);
    // The issuer's own is issued even if it is revoked: without it nobody could undo that.
    if entry.is_some()
        && let Some(standing) = lineage::standing(db, &certificate.spiffe_id, parent, now)?
    {
        return Ok(CommitOutcome::Revoked(standing));
    }
    if let Some(token_hash) = &commit.token {
        let state = token(db, token_hash, &certificate.key, certificate.issued_at)?;
        if !matches!(state, TokenState::Usable(entry) if Some(entry) == certificate.entry) {
            return Ok(CommitOutcome::TokenRefused(state));
        }
    }
    if let Some(serial) = &commit.presented {
        let touched = db
            .prepare_cached("UPDATE issuances SET last_seen_ms = ?3 WHERE serial = ?1 AND entry_id IS ?2")?
            .execute(params![
                serial,
                certificate.entry.map(|entry| entry.0),
                unix_millis(certificate.issued_at)
            ])?;
        if touched == 0 {
            return Ok(CommitOutcome::PresentedUnknown);
        }
    }
    let forked = match (parent, &entry) {
        (Some(parent), Some(entry)) => match descent(db, certificate, parent, entry)? {
            Descent::Refused(outcome) => return Ok(outcome),
            Descent::Recorded(outcome) => outcome,
        },
        _ => CommitOutcome::Done,
    };
    if let Some(token_hash) = &commit.token {
        db.prepare_cached("UPDATE tokens SET bound_key = ?2 WHERE hash = ?1")?
            .execute(params![token_hash.0, certificate.key.0])?;
    }
    db.prepare_cached(
        "INSERT INTO issuances
           (serial, entry_id, spiffe_id, key, not_before_ms, not_after_ms, issued_at_ms, origin, parent,
            requested_from)
         VALUES (:serial, :entry, :spiffe_id, :key, :not_before, :not_after, :issued_at, :origin, :parent,
            :requested_from)",
    )?
    .execute(named_params! {
        ":serial": certificate.serial,
        ":entry": certificate.entry.map(|entry| entry.0),
        ":spiffe_id": certificate.spiffe_id.as_str(),
        ":key": certificate.key.0,
        ":not_before": unix_millis(certificate.not_before),
        ":not_after": unix_millis(certificate.not_after),
        ":issued_at": unix_millis(certificate.issued_at),
        ":origin": certificate.origin.as_str(),
        ":parent": certificate.parent,
        ":requested_from": certificate.requested_from,
    })?;
    Ok(forked)
}

/// What the parent of a certificate means for its commit.
enum Descent {
    Refused(CommitOutcome),
    Recorded(CommitOutcome),
}

/// Looks at what else was issued for a certificate's parent: counts recoveries, and notices a fork.
fn descent(db: &Connection, certificate: &CertificateRecord, parent: &str, entry: &Entry) -> Result<Descent> {
    let (id, now) = (&certificate.spiffe_id, certificate.issued_at);
    let siblings = lineage::siblings(db, parent, &certificate.key.0)?;
    if certificate.origin == Origin::Recover && !siblings.same_key {
        let counted = db
            .prepare_cached(
                "UPDATE entries SET recoveries = recoveries + 1
                  WHERE id = ?1 AND (recovery_limit IS NULL OR recoveries < recovery_limit)",
            )?
            .execute([entry.id.0])?;
        if let Some(limit) = entry.entry.recovery_limit.filter(|_| counted == 0) {
            return Ok(Descent::Refused(CommitOutcome::RecoveryLimit { limit }));
        }
    }
    if !siblings.other_key {
        return Ok(Descent::Recorded(CommitOutcome::Done));
    }
    if lineage::note_fork(db, parent, id, now)? {
        let after = serde_json::json!({ "serial": parent, "requested_from": certificate.requested_from });
        audit::write(db, &By::new("issuer", now), "RENEWAL_FORK", id.as_str(), None, Some(&after))?;
    }
    if entry.entry.revokes_forks {
        let revocation = revoke_queries::answer_fork(db, parent, id.trust_domain(), now)?;
        return Ok(Descent::Refused(CommitOutcome::ForkRevoked { id: revocation }));
    }
    Ok(Descent::Recorded(CommitOutcome::Forked))
}

pub(super) fn certificates(
    db: &Connection,
    filter: &CertificateFilter,
    page: &Page<String>,
) -> Result<Vec<CertificateRecord>> {
    // Greater than every serial number, which is hexadecimal.
    let after = page.after.as_deref().unwrap_or("~");
    db.prepare_cached(&format!(
        "SELECT {CERTIFICATE_COLUMNS} FROM issuances
          WHERE serial < ?3 AND (?1 IS NULL OR not_after_ms >= ?1) AND (?2 IS NULL OR spiffe_id = ?2)
          ORDER BY serial DESC LIMIT ?4"
    ))?
    .query_map(
        params![
            filter.alive_at.map(unix_millis),
            filter.spiffe_id.as_ref().map(SpiffeId::as_str),
            after,
            limit(page.limit)
        ],
        read_certificate,
    )?
    .collect()
}

pub(super) fn record_startup(db: &Connection, now: SystemTime) -> Result<()> {
    let last: Option<i64> = db.query_row("SELECT max(issued_at_ms) FROM issuances", [], |row| row.get(0))?;
    // A clock that went back leaves no gap: everything is on record.
    if let Some(last) = last.filter(|last| *last <= unix_millis(now)) {
        db.execute("INSERT INTO gaps (from_ms, to_ms) VALUES (?1, ?2)", [last, unix_millis(now)])?;
    }
    Ok(())
}

pub(super) fn in_recovery_gap(db: &Connection, issued_at: SystemTime) -> Result<bool> {
    db.prepare_cached("SELECT 1 FROM gaps WHERE ?1 BETWEEN from_ms AND to_ms")?
        .exists([unix_millis(issued_at)])
}

pub(super) fn seen(db: &Connection, serial: &str, at: SystemTime) -> Result<()> {
    db.prepare_cached(
        "UPDATE issuances SET last_seen_ms = ?2 WHERE serial = ?1 AND coalesce(last_seen_ms, 0) < ?2",
    )?
    .execute(params![serial, unix_millis(at)])?;
    Ok(())
}

pub(super) fn bundle_sequence(db: &Connection, content: [u8; 32]) -> Result<u64> {
    let sequence: i64 = db
        .prepare_cached(
            "INSERT INTO bundle (only_row, sequence, content) VALUES (1, 1, ?1)
             ON CONFLICT (only_row) DO UPDATE SET
               sequence = sequence + (content <> excluded.content), content = excluded.content
             RETURNING sequence",
        )?
        .query_row([content], |row| row.get(0))?;
    Ok(u64::try_from(sequence).unwrap_or_default())
}

/// Writes a row larger than any other, so that it needs room of its own, and deletes it in the same transaction, so
/// that no reader sees it.
pub(super) fn probe(db: &Connection, now: SystemTime) -> Result<()> {
    const NOBODY: &str = ""; // no SPIFFE ID
    let filler = "x".repeat(8_192);
    db.prepare_cached(
        "INSERT INTO trust_acks (spiffe_id, replica, addresses, sequence, seen_at_ms, serial, epoch, counter)
         VALUES (?1, '', ?2, 0, ?3, '', 0, 0)",
    )?
    .execute(params![NOBODY, filler, unix_millis(now)])?;
    db.prepare_cached("DELETE FROM trust_acks WHERE spiffe_id = ?1")?.execute([NOBODY])?;
    Ok(())
}

pub(super) fn counts(db: &Connection, now: SystemTime) -> Result<Counts> {
    let open_forks = lineage::open_forks(db, now)?;
    db.prepare_cached(
        "SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM issuances WHERE not_after_ms >= ?1)",
    )?
    .query_row([unix_millis(now)], |row| {
        let count = |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or_default());
        Ok(Counts { entries: count(0)?, certificates: count(1)?, open_forks })
    })
}

pub(super) fn prune(db: &Connection, now: SystemTime, before: SystemTime) -> Result<u64> {
    let mut gone = 0;
    for (statement, limit) in [
        ("DELETE FROM tokens WHERE expires_at_ms <= ?1", now),
        ("DELETE FROM issuances WHERE not_after_ms < ?1", before),
        ("DELETE FROM gaps WHERE to_ms < ?1", before),
    ] {
        gone += db.prepare_cached(statement)?.execute([unix_millis(limit)])?;
    }
    gone += lineage::prune(db, before)? + audit::prune(db, now)?;
    Ok(gone as u64)
}

fn read_entry(row: &Row<'_>) -> Result<Entry> {
    Ok(Entry {
        id: EntryId(row.get(0)?),
        entry: NewEntry {
            spiffe_id: read_spiffe_id(row, 1)?,
            svid_ttl: row.get::<_, Option<i64>>(2)?.map(duration),
            recovery_window: row.get::<_, Option<i64>>(3)?.map(duration),
            dns_names: read_strings(row, 4)?,
            created_at: from_unix_millis(row.get(5)?),
            revokes_forks: row.get::<_, String>(6)? == REVOKE,
            recovery_limit: row.get(7)?,
        },
    })
}

fn duration_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
