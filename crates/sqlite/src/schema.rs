//! The settings of a connection, and the migrations that bring an older file up to date.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

/// A file that cannot be used as the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// SQLite refused the file or a migration.
    #[error("the store cannot be opened")]
    Database(#[from] rusqlite::Error),
    /// The folder for the file cannot be made, or the thread not be started.
    #[error("the store cannot be opened")]
    Io(#[source] std::io::Error),
    /// Another program's database.
    #[error("the file is a database of another program (application id {0:#x})")]
    Foreign(i32),
    /// Written by a newer version.
    #[error("the store has schema version {found}, this program knows up to {known}; run the newer program")]
    TooNew {
        /// The file's version.
        found: usize,
        /// The newest version that the program has.
        known: usize,
    },
    /// The file system cannot keep a write-ahead log.
    #[error("the store cannot use a write-ahead log here (SQLite chose {0:?}); use a local file system")]
    NoWriteAheadLog(String),
}

/// Sets a connection up for writing and brings the schema up to date. `application_id` marks the file as the program's
/// own (`PRAGMA application_id`); 0 marks nothing.
///
/// # Errors
/// See [`OpenError`].
pub fn prepare_writer(
    connection: &mut Connection,
    busy_timeout: Duration,
    application_id: i32,
    migrations: &[&str],
) -> Result<(), OpenError> {
    prepare(connection, busy_timeout)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog(mode));
    }
    // FULL: the log is on disk when COMMIT returns. With NORMAL a power failure can undo transactions that were
    // answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    migrate(connection, application_id, migrations)
}

/// Sets a connection up for reading.
///
/// # Errors
/// What SQLite says.
pub fn prepare_reader(connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    prepare(connection, busy_timeout)?;
    connection.pragma_update(None, "query_only", true)
}

fn prepare(connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The schema comes from a file, so it may call only functions that SQLite marks as innocuous.
    connection.pragma_update(None, "trusted_schema", false)?;
    // More than the number of distinct statements of any of the programs.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Runs the migrations that the file has not had, all in one transaction; the version is the number of those it has.
pub(crate) fn migrate(
    connection: &mut Connection,
    application_id: i32,
    migrations: &[&str],
) -> Result<(), OpenError> {
    // IMMEDIATE: of two programs that start at the same time one waits, and then finds the work done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let application: i32 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != application_id && (application != 0 || tables > 0) {
        return Err(OpenError::Foreign(application));
    }
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    let known = migrations.len();
    for migration in migrations.get(version..).ok_or(OpenError::TooNew { found: version, known })? {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", application_id)?;
    transaction.pragma_update(None, "user_version", i64::try_from(known).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any program's mark.
    const OURS: i32 = 0x6176_6368;

    fn version(db: &Connection) -> i64 {
        db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_store_takes_only_the_steps_it_lacks_and_keeps_its_rows() {
        let mut db = Connection::open_in_memory().unwrap();
        let steps =
            ["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (y INTEGER)", "ALTER TABLE a ADD z INTEGER"];
        migrate(&mut db, OURS, &steps[..1]).unwrap();
        db.execute("INSERT INTO a VALUES (7)", []).unwrap();
        migrate(&mut db, OURS, &steps).unwrap();
        migrate(&mut db, OURS, &steps).unwrap();
        let row: (i64, Option<i64>) =
            db.query_row("SELECT x, z FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!((row, version(&db)), ((7, None), 3));
    }

    #[test]
    fn a_step_that_fails_leaves_the_older_store_whole() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, OURS, &["CREATE TABLE a (x INTEGER)"]).unwrap();
        let steps = ["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (x INTEGER)", "nonsense"];
        assert!(matches!(migrate(&mut db, OURS, &steps), Err(OpenError::Database(_))));
        assert_eq!(version(&db), 1);
        assert!(db.prepare("SELECT * FROM b").is_err());
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, OURS, &["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (y INTEGER)"]).unwrap();
        let error = migrate(&mut db, OURS, &["CREATE TABLE a (x INTEGER)"]).unwrap_err();
        assert!(matches!(error, OpenError::TooNew { found: 2, known: 1 }), "{error}");
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE theirs (x INTEGER)").unwrap();
        assert!(matches!(migrate(&mut db, OURS, &[]), Err(OpenError::Foreign(0))));
        let mut db = Connection::open_in_memory().unwrap();
        db.pragma_update(None, "application_id", 42).unwrap();
        for application_id in [OURS, 0] {
            assert!(matches!(migrate(&mut db, application_id, &[]), Err(OpenError::Foreign(42))));
        }
    }
}
