//! The database's layout and how an older file becomes a current one.
//!
//! Refuses a file of another program and one of a newer version. Migrations only ever get appended: what was released
//! is not edited.

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as ours (`PRAGMA application_id`): "avch".
const APPLICATION_ID: i32 = 0x6176_6368;

/// One step per schema version, applied in order; the version is the number of steps taken.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never reused: a re-created identity is another entry
        spiffe_id TEXT NOT NULL UNIQUE,
        svid_ttl_ms INTEGER,
        recovery_window_ms INTEGER,
        dns_names TEXT NOT NULL,                -- JSON array
        created_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE tokens (
        hash BLOB PRIMARY KEY,                  -- SHA-256 of the secret
        entry_id INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        bound_key BLOB                          -- SHA-256 of the public key of the first use
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tokens_by_entry ON tokens (entry_id);
    CREATE TABLE issuances (
        serial TEXT PRIMARY KEY,                -- starts with the time: new rows go to the end of the tree
        entry_id INTEGER,                       -- of the registration, which may be gone; NULL: the issuer's own
        spiffe_id TEXT NOT NULL,
        key BLOB NOT NULL,
        not_before_ms INTEGER NOT NULL,
        not_after_ms INTEGER NOT NULL,
        issued_at_ms INTEGER NOT NULL,
        origin TEXT NOT NULL,
        last_seen_ms INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE trust_acks (
        spiffe_id TEXT NOT NULL,
        addresses TEXT NOT NULL,                -- JSON array
        sequence INTEGER NOT NULL,
        seen_at_ms INTEGER NOT NULL,
        PRIMARY KEY (spiffe_id, addresses)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE bundle (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        sequence INTEGER NOT NULL,
        content BLOB NOT NULL                   -- SHA-256 of the authorities
    ) STRICT;
", "
    CREATE TABLE gaps (                         -- between the last certificate on record and a start
        from_ms INTEGER NOT NULL,
        to_ms INTEGER NOT NULL
    ) STRICT;
"];

/// Why a file cannot be used as the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// SQLite refused.
    #[error("the store cannot be opened")]
    Database(#[from] rusqlite::Error),
    /// Another program's database.
    #[error("the file is a database of another program (application id {0:#x})")]
    Foreign(i32),
    /// Written by a newer version.
    #[error("the store has schema version {found}, this program knows up to {known}; run the newer program")]
    TooNew {
        /// The file's.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// The file system cannot keep a write-ahead log.
    #[error("the store cannot use a write-ahead log here (SQLite chose {0:?}); use a local file system")]
    NoWriteAheadLog(String),
}

/// Settings of the connection that writes.
pub(super) fn prepare_writer(db: &mut Connection) -> Result<(), SchemaError> {
    prepare(db)?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(SchemaError::NoWriteAheadLog(mode));
    }
    // FULL: the log is on disk when COMMIT returns. A certificate is handed out after that, never before.
    db.pragma_update(None, "synchronous", "FULL")?;
    migrate(db, MIGRATIONS)
}

/// Settings of a connection that reads.
pub(super) fn prepare_reader(db: &Connection) -> rusqlite::Result<()> {
    prepare(db)?;
    db.pragma_update(None, "query_only", true)
}

fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(std::time::Duration::from_secs(2))?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn migrate(db: &mut Connection, steps: &[&str]) -> Result<(), SchemaError> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let application: i32 = tx.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(SchemaError::Foreign(application));
    }
    let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    let pending = steps.get(version..).ok_or(SchemaError::TooNew { found: version, known: steps.len() })?;
    for step in pending {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", i64::try_from(steps.len()).unwrap_or(i64::MAX))?;
    tx.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(db: &Connection) -> i64 {
        db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_store_takes_only_the_steps_it_lacks_and_keeps_its_rows() {
        let mut db = Connection::open_in_memory().unwrap();
        let steps =
            ["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (y INTEGER)", "ALTER TABLE a ADD z INTEGER"];
        migrate(&mut db, &steps[..1]).unwrap();
        db.execute("INSERT INTO a VALUES (7)", []).unwrap();
        migrate(&mut db, &steps).unwrap();
        migrate(&mut db, &steps).unwrap();
        let row: (i64, Option<i64>) =
            db.query_row("SELECT x, z FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!((row, version(&db)), ((7, None), 3));
    }

    #[test]
    fn a_step_that_fails_leaves_the_older_store_whole() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, &["CREATE TABLE a (x INTEGER)"]).unwrap();
        let steps = ["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (y INTEGER)", "nonsense"];
        assert!(matches!(migrate(&mut db, &steps), Err(SchemaError::Database(_))));
        assert_eq!(version(&db), 1);
        assert!(db.prepare("SELECT * FROM b").is_err());
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, &["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (y INTEGER)"]).unwrap();
        let error = migrate(&mut db, &["CREATE TABLE a (x INTEGER)"]).unwrap_err();
        assert!(matches!(error, SchemaError::TooNew { found: 2, known: 1 }), "{error}");
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE theirs (x INTEGER)").unwrap();
        assert!(matches!(migrate(&mut db, MIGRATIONS), Err(SchemaError::Foreign(0))));
        let mut db = Connection::open_in_memory().unwrap();
        db.pragma_update(None, "application_id", 42).unwrap();
        assert!(matches!(migrate(&mut db, MIGRATIONS), Err(SchemaError::Foreign(42))));
    }

    #[test]
    fn the_current_schema_is_applied_to_an_empty_file() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, MIGRATIONS).unwrap();
        for table in ["entries", "tokens", "issuances", "trust_acks", "bundle"] {
            db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        }
    }
}
