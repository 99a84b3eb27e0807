//! Reading rows: what the queries of several subjects share.

use super::{CertificateRecord, EntryId, KeyHash, Origin};
use avouch_spiffe::SpiffeId;
use avouch_sqlite::rusqlite;
use avouch_time::timestamp::from_unix_millis;
use rusqlite::Row;
use rusqlite::types::Type;

type Result<T> = rusqlite::Result<T>;

pub(super) const CERTIFICATE_COLUMNS: &str = "serial, entry_id, spiffe_id, key, not_before_ms, not_after_ms, issued_at_ms, origin, last_seen_ms, parent, requested_from";

pub(super) fn read_certificate(row: &Row<'_>) -> Result<CertificateRecord> {
    let origin: String = row.get(7)?;
    Ok(CertificateRecord {
        serial: row.get(0)?,
        entry: row.get::<_, Option<i64>>(1)?.map(EntryId),
        spiffe_id: read_spiffe_id(row, 2)?,
        key: KeyHash(row.get(3)?),
        not_before: from_unix_millis(row.get(4)?),
        not_after: from_unix_millis(row.get(5)?),
        issued_at: from_unix_millis(row.get(6)?),
        origin: Origin::parse(&origin).ok_or_else(|| unreadable(7, format!("unknown origin {origin:?}")))?,
        last_seen: row.get::<_, Option<i64>>(8)?.map(from_unix_millis),
        parent: row.get(9)?,
        requested_from: row.get(10)?,
    })
}

pub(super) fn read_spiffe_id(row: &Row<'_>, column: usize) -> Result<SpiffeId> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(column, format!("{error}")))
}

pub(super) fn read_strings(row: &Row<'_>, column: usize) -> Result<Vec<String>> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error.to_string()))
}

pub(super) fn strings_to_json(strings: &[String]) -> String {
    serde_json::Value::from(strings).to_string()
}

pub(super) fn unreadable(column: usize, why: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
}

pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
