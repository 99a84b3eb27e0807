//! The descent of certificates: what was renewed or recovered from what, and what is revoked with it.
//!
//! A certificate that was renewed or recovered with two different keys is *forked*: a workload repeats a request with the
//! same key, so a second key means that the first one's holder is not alone.

use super::rows::{CERTIFICATE_COLUMNS, read_certificate, read_spiffe_id};
use super::{CertificateRecord, Fork, StandingRevocation};
use avouch_spiffe::{RevocationKey, SpiffeId};
use avouch_sqlite::rusqlite;
use avouch_time::timestamp::{from_unix_millis, unix_millis};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

type Result<T> = rusqlite::Result<T>;

/// The revocation in force against an identity, or against one of its certificates.
pub(super) fn standing(
    db: &Connection,
    spiffe_id: &SpiffeId,
    serial: Option<&str>,
    now: SystemTime,
) -> Result<Option<StandingRevocation>> {
    let identity = RevocationKey::identity(spiffe_id);
    let certificate = serial.map(|serial| RevocationKey::serial(spiffe_id.trust_domain(), serial));
    db.prepare_cached(
        "SELECT r.id, r.actor, r.reason, r.created_at_ms, k.key = ?1
           FROM revoked_keys k JOIN revocations r ON r.id = k.revocation_id
          WHERE k.key IN (?1, ?2) AND r.undone_at_ms IS NULL AND coalesce(r.expires_at_ms > ?3, 1)
          ORDER BY k.key = ?1 DESC, r.id LIMIT 1",
    )?
    .query_row(params![identity.0, certificate.unwrap_or(identity).0, unix_millis(now)], |row| {
        Ok(StandingRevocation {
            id: row.get(0)?,
            actor: row.get(1)?,
            reason: row.get(2)?,
            created_at: from_unix_millis(row.get(3)?),
            of_identity: row.get(4)?,
        })
    })
    .optional()
}

/// The record of a certificate.
pub(super) fn certificate(db: &Connection, serial: &str) -> Result<Option<CertificateRecord>> {
    db.prepare_cached(&format!("SELECT {CERTIFICATE_COLUMNS} FROM issuances WHERE serial = ?1"))?
        .query_row([serial], read_certificate)
        .optional()
}

/// A certificate and everything that descends from it, ended ones included.
pub(super) fn descendants(db: &Connection, serial: &str) -> Result<Vec<CertificateRecord>> {
    db.prepare_cached(&format!(
        "WITH RECURSIVE descent (serial) AS (
           SELECT ?1 UNION SELECT child.serial FROM issuances child JOIN descent ON child.parent = descent.serial)
         SELECT {CERTIFICATE_COLUMNS} FROM issuances WHERE serial IN (SELECT serial FROM descent) ORDER BY serial DESC"
    ))?
    .query_map([serial], read_certificate)?
    .collect()
}

/// What was renewed or recovered from a certificate already.
pub(super) struct Siblings {
    /// Something with the same key: the request is a repetition.
    pub(super) same_key: bool,
    /// Something with another key: the certificate is forked.
    pub(super) other_key: bool,
}

/// What was renewed or recovered from this certificate, beside what has this key.
pub(super) fn siblings(db: &Connection, parent: &str, key: &[u8; 32]) -> Result<Siblings> {
    db.prepare_cached(
        "SELECT coalesce(max(key = ?2), 0), coalesce(max(key <> ?2), 0) FROM issuances WHERE parent = ?1",
    )?
    .query_row(params![parent, key], |row| Ok(Siblings { same_key: row.get(0)?, other_key: row.get(1)? }))
}

/// Notes a fork; one that is on record already stays as it is. `true`: it is new.
pub(super) fn note_fork(
    db: &Connection,
    serial: &str,
    spiffe_id: &SpiffeId,
    now: SystemTime,
) -> Result<bool> {
    let noted = db
        .prepare_cached("INSERT OR IGNORE INTO forks (serial, spiffe_id, noticed_at_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![serial, spiffe_id.as_str(), unix_millis(now)])?;
    Ok(noted == 1)
}

/// Forks, the latest first. `ended`: also those whose certificates have all ended, or that were answered.
pub(super) fn forks(db: &Connection, now: SystemTime, ended: bool) -> Result<Vec<Fork>> {
    let mut found = db.prepare_cached(
        "SELECT serial, spiffe_id, noticed_at_ms FROM forks ORDER BY noticed_at_ms DESC, serial",
    )?;
    let mut children = db.prepare_cached(&format!(
        "SELECT {CERTIFICATE_COLUMNS} FROM issuances WHERE parent = ?1 ORDER BY serial"
    ))?;
    let mut rows = found.query([])?;
    let mut forks = Vec::new();
    while let Some(row) = rows.next()? {
        let serial: String = row.get(0)?;
        let spiffe_id = read_spiffe_id(row, 1)?;
        let children: Vec<CertificateRecord> =
            children.query_map([serial.as_str()], read_certificate)?.collect::<Result<_>>()?;
        // The forked certificate is revoked by whatever answers the fork: with one of its branches, or with both.
        let answer = standing(db, &spiffe_id, Some(&serial), now)?;
        // Of the branches it may be any descendant that is alive.
        let is_alive = descendants(db, &serial)?.iter().any(|it| it.not_after >= now);
        if ended || (is_alive && answer.is_none()) {
            let noticed_at = from_unix_millis(row.get(2)?);
            forks.push(Fork { serial, spiffe_id, children, noticed_at, revocation: answer.map(|it| it.id) });
        }
    }
    Ok(forks)
}

/// The number of forks that nobody has answered, among certificates that are alive.
pub(super) fn open_forks(db: &Connection, now: SystemTime) -> Result<u64> {
    Ok(forks(db, now, false)?.len() as u64)
}

pub(super) fn prune(db: &Connection, before: SystemTime) -> Result<usize> {
    db.prepare_cached(
        "DELETE FROM forks WHERE noticed_at_ms < ?1 AND NOT EXISTS (SELECT 1 FROM issuances WHERE parent = forks.serial)",
    )?
    .execute([unix_millis(before)])
}
