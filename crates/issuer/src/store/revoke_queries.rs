//! The SQL of revoking: what a revocation hits, in the transaction that makes it, so that nothing is issued in between.

use super::rows::{CERTIFICATE_COLUMNS, limit, read_certificate, unreadable};
use super::trust_queries::{insert, read_generation};
use super::{
    By, CertificateRecord, NewRevocation, Page, RevocationFilter, RevocationPlan, RevocationRecord, Revoke,
    RevokeOutcome, RevokedCertificate, RevokedKey, Subject, audit, lineage, trust_queries,
};
use avouch_spiffe::trust_state::MAX_REVOCATIONS;
use avouch_spiffe::{RevocationKey, SpiffeId, TrustDomain};
use avouch_sqlite::rusqlite;
use avouch_time::timestamp::{from_unix_millis, unix_millis};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

type Result<T> = rusqlite::Result<T>;

/// How much longer a revocation is in force than what it revokes: verifiers' clocks may be behind.
const CLOCKS: Duration = Duration::from_secs(300);

pub(super) fn revoke(db: &Connection, revoke: &Revoke) -> Result<RevokeOutcome> {
    let now = revoke.by.at;
    let Some(plan) = plan(db, revoke)? else { return Ok(RevokeOutcome::NotOnRecord) };
    if let Some(already) = already(db, revoke, &plan, now)? {
        return Ok(RevokeOutcome::Already(already));
    }
    let keys = keys(revoke, &plan);
    let count = in_force(db, now)? + keys.iter().filter(|key| key.ends_at > now).count();
    if count > MAX_REVOCATIONS {
        return Ok(RevokeOutcome::TooMany { count });
    }
    if revoke.dry_run {
        return Ok(RevokeOutcome::Planned(plan));
    }
    if !revoke.force && plan.hit_identities * 2 > plan.live_identities {
        return Ok(RevokeOutcome::NeedsForce(plan));
    }
    let since = trust_queries::advance_generation(db)?;
    let new = NewRevocation {
        subject: revoke.subject.to_string(),
        spiffe_id: plan.spiffe_id.to_string(),
        by: revoke.by.clone(),
        expires_at: revoke.expires_at,
        keys,
    };
    let id = insert(db, &new, since)?;
    let record = record(db, id)?.ok_or_else(|| unreadable(0, "a revocation is gone".to_owned()))?;
    audit::write(db, &revoke.by, "revocation.create", &new.subject, None, Some(&summary(&record)))?;
    Ok(RevokeOutcome::Made(Box::new(record), plan))
}

/// The keys in force, at the most: one that several revocations name counts as often.
fn in_force(db: &Connection, now: SystemTime) -> Result<usize> {
    let count: i64 = db
        .prepare_cached(
            "SELECT count(*) FROM revoked_keys k JOIN revocations r ON r.id = k.revocation_id
              WHERE k.ends_at_ms > ?1 AND r.undone_at_ms IS NULL",
        )?
        .query_row([unix_millis(now)], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn summary(record: &RevocationRecord) -> serde_json::Value {
    json!({
        "id": record.id,
        "expires_at_ms": record.expires_at.map(unix_millis),
        "undone": record.undone_at.is_some(),
        "serials": record.serials.len(),
    })
}

/// What it would hit. `None`: the serial number is not on record.
fn plan(db: &Connection, revoke: &Revoke) -> Result<Option<RevocationPlan>> {
    let now = revoke.by.at;
    let (spiffe_id, all) = match &revoke.subject {
        Subject::Identity(id) => (id.clone(), of_identity(db, id, now)?),
        Subject::Serial(serial) => {
            let all = lineage::descendants(db, serial)?;
            let Some(first) = all.iter().find(|it| it.serial == *serial) else { return Ok(None) };
            (first.spiffe_id.clone(), all)
        }
    };
    let forked = match &revoke.subject {
        Subject::Serial(serial) => forked_parent(db, &all, serial)?,
        Subject::Identity(_) => None,
    };
    let live_identities: i64 = db
        .prepare_cached(
            "SELECT count(DISTINCT spiffe_id) FROM issuances WHERE not_after_ms >= ?1 AND origin <> 'self'",
        )?
        .query_row([unix_millis(now)], |row| row.get(0))?;
    let hit: BTreeSet<&str> = all.iter().chain(&forked).map(|it| it.serial.as_str()).collect();
    let live = of_identity(db, &spiffe_id, now)?;
    let loses_all = !live.is_empty() && live.iter().all(|it| hit.contains(it.serial.as_str()));
    Ok(Some(RevocationPlan {
        spiffe_id,
        certificates: all,
        forked: forked.into_iter().collect(),
        live_identities: u64::try_from(live_identities).unwrap_or_default(),
        hit_identities: u64::from(loses_all),
    }))
}

fn of_identity(db: &Connection, id: &SpiffeId, now: SystemTime) -> Result<Vec<CertificateRecord>> {
    db.prepare_cached(&format!(
        "SELECT {CERTIFICATE_COLUMNS} FROM issuances WHERE spiffe_id = ?1 AND not_after_ms >= ?2 ORDER BY serial DESC"
    ))?
    .query_map(params![id.as_str(), unix_millis(now)], read_certificate)?
    .collect()
}

/// The parent of a certificate, where it was renewed or recovered with two keys: its key is copied, and whoever has the copy
/// could go on with it.
fn forked_parent(
    db: &Connection,
    all: &[CertificateRecord],
    serial: &str,
) -> Result<Option<CertificateRecord>> {
    let Some((parent, key)) =
        all.iter().find(|it| it.serial == serial).and_then(|it| Some((it.parent.as_deref()?, it.key)))
    else {
        return Ok(None);
    };
    if !lineage::siblings(db, parent, &key.0)?.other_key {
        return Ok(None);
    }
    lineage::certificate(db, parent)
}

fn keys(revoke: &Revoke, plan: &RevocationPlan) -> Vec<RevokedKey> {
    let domain = plan.spiffe_id.trust_domain();
    match &revoke.subject {
        Subject::Identity(id) => {
            // By the longest life that there can be, not by the certificates on record: a restored store lacks some.
            let ends_at = revoke.by.at + revoke.longest_life + CLOCKS;
            vec![RevokedKey { key: RevocationKey::identity(id), serial: None, ends_at }]
        }
        Subject::Serial(_) => plan
            .certificates
            .iter()
            .chain(&plan.forked)
            .map(|certificate| key_of(domain, certificate))
            .collect(),
    }
}

fn key_of(domain: &TrustDomain, certificate: &CertificateRecord) -> RevokedKey {
    RevokedKey {
        key: RevocationKey::serial(domain, &certificate.serial),
        serial: Some(certificate.serial.clone()),
        ends_at: certificate.not_after + CLOCKS,
    }
}

/// The revocation in force that says the same, and for as long.
fn already(
    db: &Connection,
    revoke: &Revoke,
    plan: &RevocationPlan,
    now: SystemTime,
) -> Result<Option<Box<RevocationRecord>>> {
    let id: Option<i64> = db
        .prepare_cached(
            "SELECT id FROM revocations WHERE subject = ?1 AND undone_at_ms IS NULL
                AND (expires_at_ms IS NULL OR expires_at_ms > ?2 AND expires_at_ms >= ?3) ORDER BY id DESC LIMIT 1",
        )?
        .query_row(
            params![
                revoke.subject.to_string(),
                unix_millis(now),
                revoke.expires_at.map_or(i64::MAX, unix_millis)
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(id) = id else { return Ok(None) };
    let Some(record) = record(db, id)? else { return Ok(None) };
    let covers = |certificate: &CertificateRecord| record.serials.contains(&certificate.serial);
    let says_it_all = match &revoke.subject {
        Subject::Identity(_) => true,
        Subject::Serial(_) => plan.certificates.iter().chain(&plan.forked).all(covers),
    };
    Ok(says_it_all.then(|| Box::new(record)))
}

/// Revokes a forked certificate and everything that descends from it, because its entry says so.
pub(super) fn answer_fork(
    db: &Connection,
    forked: &str,
    domain: &TrustDomain,
    now: SystemTime,
) -> Result<i64> {
    let all = lineage::descendants(db, forked)?;
    let spiffe_id = all.first().map(|it| it.spiffe_id.to_string()).unwrap_or_default();
    let by =
        By { reason: "renewed with two keys (on_fork = \"revoke\")".to_owned(), ..By::new("issuer", now) };
    let keys = all.iter().map(|it| key_of(domain, it)).collect();
    let subject = format!("serial:{forked}");
    let since = trust_queries::advance_generation(db)?;
    let new = NewRevocation { subject, spiffe_id, by, expires_at: None, keys };
    let id = insert(db, &new, since)?;
    audit::write(db, &new.by, "revocation.create", &new.subject, None, Some(&json!({ "id": id })))?;
    Ok(id)
}

pub(super) fn undo(db: &Connection, id: i64, by: &By) -> Result<Option<RevocationRecord>> {
    let Some(before) = record(db, id)?.filter(|record| record.undone_at.is_none()) else { return Ok(None) };
    db.prepare_cached("UPDATE revocations SET undone_at_ms = ?2, undone_by = ?3 WHERE id = ?1")?
        .execute(params![id, unix_millis(by.at), by.actor])?;
    trust_queries::advance_generation(db)?;
    let after = record(db, id)?;
    let text = after.as_ref().map(summary);
    audit::write(db, by, "revocation.undo", &before.subject, Some(&summary(&before)), text.as_ref())?;
    Ok(after)
}

const RECORD_COLUMNS: &str = "id, subject, spiffe_id, reason, actor, created_at_ms, expires_at_ms, undone_at_ms, undone_by, epoch, counter";

pub(super) fn record(db: &Connection, id: i64) -> Result<Option<RevocationRecord>> {
    let found = db
        .prepare_cached(&format!("SELECT {RECORD_COLUMNS} FROM revocations WHERE id = ?1"))?
        .query_row([id], read_record)
        .optional()?;
    found.map(|record| with_keys(db, record)).transpose()
}

/// Revocations, the latest first.
pub(super) fn records(
    db: &Connection,
    filter: &RevocationFilter,
    page: &Page<i64>,
) -> Result<Vec<RevocationRecord>> {
    // The identity of a SPIFFE ID stays revoked after the last certificate has ended: it gets no other.
    let found: Vec<RevocationRecord> = db
        .prepare_cached(&format!(
            "SELECT {RECORD_COLUMNS} FROM revocations r
              WHERE id < ?1
                AND (?2 IS NULL OR undone_at_ms IS NULL AND coalesce(expires_at_ms > ?2, 1)
                     AND (subject LIKE 'spiffe:%'
                          OR EXISTS (SELECT 1 FROM revoked_keys WHERE revocation_id = r.id AND ends_at_ms > ?2)))
                AND (?3 = '' OR subject = ?3 OR spiffe_id = ?3
                     OR EXISTS (SELECT 1 FROM revoked_keys WHERE revocation_id = r.id AND 'serial:' || serial = ?3))
              ORDER BY id DESC LIMIT ?4"
        ))?
        .query_map(
            params![
                page.after.unwrap_or(i64::MAX),
                filter.in_force_at.map(unix_millis),
                filter.about,
                limit(page.limit)
            ],
            read_record,
        )?
        .collect::<Result<_>>()?;
    found.into_iter().map(|record| with_keys(db, record)).collect()
}

fn read_record(row: &Row<'_>) -> Result<RevocationRecord> {
    Ok(RevocationRecord {
        id: row.get(0)?,
        subject: row.get(1)?,
        spiffe_id: row.get(2)?,
        by: By { reason: row.get(3)?, actor: row.get(4)?, at: from_unix_millis(row.get(5)?) },
        expires_at: row.get::<_, Option<i64>>(6)?.map(from_unix_millis),
        undone_at: row.get::<_, Option<i64>>(7)?.map(from_unix_millis),
        undone_by: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        since: read_generation(row, 9, 10)?,
        serials: Vec::new(),
        key: None,
    })
}

fn with_keys(db: &Connection, mut record: RevocationRecord) -> Result<RevocationRecord> {
    let mut keys = db.prepare_cached(
        "SELECT key, serial FROM revoked_keys WHERE revocation_id = ?1 ORDER BY serial DESC",
    )?;
    let mut rows = keys.query([record.id])?;
    while let Some(row) = rows.next()? {
        match row.get::<_, Option<String>>(1)? {
            Some(serial) => record.serials.push(serial),
            None => record.key = Some(RevocationKey(row.get(0)?)),
        }
    }
    Ok(record)
}

/// The certificates that are revoked, by themselves or with their identity, and end after a time: the entries of a CRL.
pub(super) fn revoked_certificates(
    db: &Connection,
    now: SystemTime,
    ended_after: SystemTime,
) -> Result<Vec<RevokedCertificate>> {
    db.prepare_cached(
        "SELECT serial, min(at_ms), min(id) FROM (
           SELECT k.serial AS serial, r.created_at_ms AS at_ms, r.id AS id
             FROM revocations r JOIN revoked_keys k ON k.revocation_id = r.id
            WHERE k.serial IS NOT NULL AND k.ends_at_ms > ?2
              AND r.undone_at_ms IS NULL AND coalesce(r.expires_at_ms > ?1, 1)
           UNION ALL
           SELECT i.serial, r.created_at_ms, r.id FROM revocations r JOIN issuances i ON i.spiffe_id = r.subject
            WHERE i.not_after_ms >= ?2 AND r.undone_at_ms IS NULL AND coalesce(r.expires_at_ms > ?1, 1))
         GROUP BY serial ORDER BY serial",
    )?
    .query_map([unix_millis(now), unix_millis(ended_after)], |row| {
        let revoked_at = from_unix_millis(row.get(1)?);
        Ok(RevokedCertificate { serial: row.get(0)?, revoked_at, revocation: row.get(2)? })
    })?
    .collect()
}
