//! Brings a file's schema up to date, one script at a time, each in its own transaction.

use rusqlite::Connection;

use crate::StoreError;

/// Runs the scripts the file has not had. `user_version` counts those it has.
pub(crate) fn migrate(connection: &mut Connection, scripts: &[&str]) -> Result<(), StoreError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let found = usize::try_from(found).map_err(|_negative| StoreError::Corrupt("schema version"))?;
    if found > scripts.len() {
        return Err(StoreError::SchemaTooNew { found, known: scripts.len() });
    }
    for (version, script) in (1_i64..).zip(scripts).skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
