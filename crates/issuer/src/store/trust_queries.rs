//! The SQL of generations, revocations and acknowledgements, on a connection that the caller has put in a transaction.

use super::revocations::next_epoch;
use super::rows::{limit, read_spiffe_id, read_strings, strings_to_json, unreadable};
use super::{
    ACKS_PER_IDENTITY, By, Epoch, NewRevocation, Page, RevokedKey, StoredRevocation, TrustAck,
    TrustRevocations, audit,
};
use avouch_spiffe::{Generation, Revocation, RevocationKey, SpiffeId};
use avouch_sqlite::rusqlite;
use avouch_time::timestamp::{from_unix_millis, unix_millis};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

type Result<T> = rusqlite::Result<T>;

pub(super) fn begin_epoch(db: &Connection, now: SystemTime) -> Result<Epoch> {
    let known = generation(db)?;
    let current = next_epoch(known, now);
    db.execute(
        "INSERT INTO trust_generation (only_row, epoch, counter) VALUES (1, ?1, ?2)
         ON CONFLICT (only_row) DO UPDATE SET epoch = excluded.epoch",
        params![current.epoch, current.counter],
    )?;
    Ok(Epoch { known, current })
}

fn generation(db: &Connection) -> Result<Generation> {
    let row = db
        .prepare_cached("SELECT epoch, counter FROM trust_generation")?
        .query_row([], |row| read_generation(row, 0, 1))
        .optional()?;
    Ok(row.unwrap_or(Generation::NONE))
}

pub(super) fn advance_generation(db: &Connection) -> Result<Generation> {
    db.prepare_cached(
        "INSERT INTO trust_generation (only_row, epoch, counter) VALUES (1, 0, 1)
         ON CONFLICT (only_row) DO UPDATE SET counter = counter + 1 RETURNING epoch, counter",
    )?
    .query_row([], |row| read_generation(row, 0, 1))
}

/// What is in force and what was undone, at one moment: the connection reads in a transaction.
pub(super) fn trust_revocations(db: &Connection, now: SystemTime) -> Result<TrustRevocations> {
    let generation = generation(db)?;
    let mut in_force: BTreeMap<RevocationKey, StoredRevocation> = BTreeMap::new();
    let mut undone = BTreeSet::new();
    let mut statement = db.prepare_cached(
        "SELECT k.key, r.epoch, r.counter, min(k.ends_at_ms, coalesce(r.expires_at_ms, k.ends_at_ms)) AS ends_at_ms,
                r.undone_at_ms IS NOT NULL
           FROM revoked_keys k JOIN revocations r ON r.id = k.revocation_id
          WHERE k.ends_at_ms > ?1",
    )?;
    let mut rows = statement.query([unix_millis(now)])?;
    while let Some(row) = rows.next()? {
        let found = StoredRevocation {
            key: RevocationKey(row.get(0)?),
            since: read_generation(row, 1, 2)?,
            ends_at: from_unix_millis(row.get(3)?),
        };
        if row.get(4)? {
            undone.insert(found.key);
        } else if found.ends_at > now {
            // Of several revocations of one key all have to end before it is free.
            let kept = in_force.entry(found.key).or_insert(found);
            kept.since = kept.since.max(found.since);
            kept.ends_at = kept.ends_at.max(found.ends_at);
        }
    }
    undone.retain(|key| !in_force.contains_key(key));
    let in_force = in_force.into_values().collect();
    Ok(TrustRevocations { generation, in_force, undone: undone.into_iter().collect() })
}

/// Writes a revocation that a generation brings. Returns its id.
pub(super) fn insert(db: &Connection, revocation: &NewRevocation, since: Generation) -> Result<i64> {
    db.prepare_cached(
        "INSERT INTO revocations (subject, spiffe_id, reason, actor, created_at_ms, expires_at_ms, epoch, counter)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        revocation.subject,
        revocation.spiffe_id,
        revocation.by.reason,
        revocation.by.actor,
        unix_millis(revocation.by.at),
        revocation.expires_at.map(unix_millis),
        since.epoch,
        since.counter,
    ])?;
    let id = db.last_insert_rowid();
    let mut add = db.prepare_cached(
        "INSERT OR IGNORE INTO revoked_keys (revocation_id, key, serial, ends_at_ms) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for RevokedKey { key, serial, ends_at } in &revocation.keys {
        add.execute(params![id, key.0, serial, unix_millis(*ends_at)])?;
    }
    Ok(id)
}

/// Takes those that are not on record, neither in force nor undone. What one generation brought was one act, and comes back
/// as one, so that it can be undone as one.
pub(super) fn return_revocations(
    db: &Connection,
    from: &SpiffeId,
    revocations: &[Revocation],
    at: SystemTime,
) -> Result<usize> {
    let mut by_act: BTreeMap<Generation, Vec<Revocation>> = BTreeMap::new();
    for revocation in revocations {
        let known =
            db.prepare_cached("SELECT 1 FROM revoked_keys WHERE key = ?1")?.exists([revocation.key.0])?;
        if !known {
            by_act.entry(revocation.since).or_default().push(*revocation);
        }
    }
    if by_act.is_empty() {
        return Ok(0);
    }
    advance_generation(db)?;
    let names = names(db, at, from)?;
    let mut taken = 0;
    for (since, act) in by_act {
        let name = act.iter().find_map(|revocation| names.get(&revocation.key));
        let keys: Vec<_> = act
            .iter()
            .map(|revocation| RevokedKey {
                key: revocation.key,
                serial: names.get(&revocation.key).and_then(|name| name.serial.clone()),
                ends_at: revocation.ends_at,
            })
            .collect();
        taken += keys.len();
        let returned = NewRevocation {
            subject: name.map(Name::subject).unwrap_or_default(),
            spiffe_id: name.map(|name| name.spiffe_id.clone()).unwrap_or_default(),
            by: By::new(format!("returned by {from}"), at),
            expires_at: None,
            keys,
        };
        insert(db, &returned, since)?;
        audit::write(db, &returned.by, "revocation.return", &returned.subject, None, None)?;
    }
    Ok(taken)
}

/// What a key may stand for.
struct Name {
    spiffe_id: String,
    serial: Option<String>,
}

impl Name {
    fn subject(&self) -> String {
        self.serial.as_ref().map_or_else(|| self.spiffe_id.clone(), |serial| format!("serial:{serial}"))
    }
}

/// The identities and the live certificates on record, by their keys. Reads them all, which a restore is worth.
fn names(db: &Connection, now: SystemTime, from: &SpiffeId) -> Result<HashMap<RevocationKey, Name>> {
    let domain = from.trust_domain();
    let mut names = HashMap::new();
    let mut identities = db.prepare_cached("SELECT spiffe_id FROM entries")?;
    let mut rows = identities.query([])?;
    while let Some(row) = rows.next()? {
        let id = read_spiffe_id(row, 0)?;
        let name = Name { spiffe_id: id.to_string(), serial: None };
        names.insert(RevocationKey::identity(&id), name);
    }
    let mut live = db.prepare_cached("SELECT serial, spiffe_id FROM issuances WHERE not_after_ms >= ?1")?;
    let mut rows = live.query([unix_millis(now)])?;
    while let Some(row) = rows.next()? {
        let (serial, spiffe_id): (String, String) = (row.get(0)?, row.get(1)?);
        let key = RevocationKey::serial(domain, &serial);
        names.insert(key, Name { spiffe_id, serial: Some(serial) });
    }
    Ok(names)
}

pub(super) fn acknowledge(db: &Connection, ack: &TrustAck) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO trust_acks (spiffe_id, replica, addresses, sequence, seen_at_ms, instance, serial, epoch, counter)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (spiffe_id, replica) DO UPDATE SET
           addresses = excluded.addresses, sequence = excluded.sequence, seen_at_ms = excluded.seen_at_ms,
           serial = excluded.serial, epoch = excluded.epoch, counter = excluded.counter",
    )?
    .execute(params![
        ack.spiffe_id.as_str(),
        ack.replica(),
        strings_to_json(&ack.addresses),
        i64::try_from(ack.sequence).unwrap_or(i64::MAX),
        unix_millis(ack.seen_at),
        ack.instance,
        ack.serial,
        ack.generation.epoch,
        ack.generation.counter,
    ])?;
    db.prepare_cached(
        "DELETE FROM trust_acks WHERE spiffe_id = ?1 AND replica IN (
           SELECT replica FROM trust_acks WHERE spiffe_id = ?1
            ORDER BY seen_at_ms DESC, replica LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![ack.spiffe_id.as_str(), i64::try_from(ACKS_PER_IDENTITY).unwrap_or(i64::MAX)])?;
    Ok(())
}

pub(super) fn acknowledgements(db: &Connection, page: &Page<(SpiffeId, String)>) -> Result<Vec<TrustAck>> {
    let (spiffe_id, replica) = match &page.after {
        Some((spiffe_id, replica)) => (spiffe_id.as_str(), replica.as_str()),
        None => ("", ""),
    };
    db.prepare_cached(
        "SELECT spiffe_id, addresses, sequence, seen_at_ms, instance, serial, epoch, counter FROM trust_acks
          WHERE (spiffe_id, replica) > (?1, ?2) ORDER BY spiffe_id, replica LIMIT ?3",
    )?
    .query_map(params![spiffe_id, replica, limit(page.limit)], |row| {
        Ok(TrustAck {
            spiffe_id: read_spiffe_id(row, 0)?,
            addresses: read_strings(row, 1)?,
            sequence: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
            seen_at: from_unix_millis(row.get(3)?),
            instance: row.get(4)?,
            serial: row.get(5)?,
            generation: read_generation(row, 6, 7)?,
        })
    })?
    .collect()
}

pub(super) fn prune(db: &Connection, before: SystemTime) -> Result<usize> {
    let acks =
        db.prepare_cached("DELETE FROM trust_acks WHERE seen_at_ms < ?1")?.execute([unix_millis(before)])?;
    let revocations = db
        .prepare_cached(
            // An identity stays revoked until that is undone or over, whether it has certificates or not.
            "DELETE FROM revocations WHERE created_at_ms < ?1
                AND (subject NOT LIKE 'spiffe:%' OR undone_at_ms < ?1 OR expires_at_ms < ?1)
                AND NOT EXISTS (SELECT 1 FROM revoked_keys WHERE revocation_id = id AND ends_at_ms >= ?1)",
        )?
        .execute([unix_millis(before)])?;
    Ok(acks + revocations)
}

pub(super) fn read_generation(row: &Row<'_>, epoch: usize, counter: usize) -> Result<Generation> {
    let number = |column| {
        u32::try_from(row.get::<_, i64>(column)?).map_err(|error| unreadable(column, error.to_string()))
    };
    Ok(Generation { epoch: number(epoch)?, counter: number(counter)? })
}
