//! The database's layout, as the migrations that make it. They only ever get appended: what was released is not edited.

/// Marks the file as ours (`PRAGMA application_id`): "avch".
pub(super) const APPLICATION_ID: i32 = 0x6176_6368;

/// One step per schema version, applied in order; the version is the number of steps taken.
pub(super) const MIGRATIONS: &[&str] = &["
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
", "
    CREATE TABLE trust_generation (             -- of the trust state
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        epoch INTEGER NOT NULL,
        counter INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE revocations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subject TEXT NOT NULL,                  -- spiffe://… or serial:…; empty: not known
        spiffe_id TEXT NOT NULL,                -- that the subject belongs to; empty: not known
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER,
        undone_at_ms INTEGER,
        undone_by TEXT,
        epoch INTEGER NOT NULL,                 -- the generation that brought it
        counter INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE revoked_keys (
        revocation_id INTEGER NOT NULL REFERENCES revocations (id) ON DELETE CASCADE,
        key BLOB NOT NULL,                      -- as the trust state has it
        serial TEXT,                            -- of a certificate
        ends_at_ms INTEGER NOT NULL,
        PRIMARY KEY (revocation_id, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX revoked_keys_by_key ON revoked_keys (key);
    CREATE INDEX revoked_keys_by_end ON revoked_keys (ends_at_ms);
    CREATE INDEX revocations_by_subject ON revocations (subject);
    ALTER TABLE issuances ADD COLUMN parent TEXT;  -- serial number of the certificate that it was got with
    ALTER TABLE issuances ADD COLUMN requested_from TEXT NOT NULL DEFAULT '';  -- address of the request
    CREATE INDEX issuances_by_parent ON issuances (parent) WHERE parent IS NOT NULL;
    ALTER TABLE entries ADD COLUMN on_fork TEXT NOT NULL DEFAULT 'alert';
    ALTER TABLE entries ADD COLUMN recovery_limit INTEGER;
    ALTER TABLE entries ADD COLUMN recoveries INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE forks (                        -- certificates that were renewed or recovered with two keys
        serial TEXT PRIMARY KEY,
        spiffe_id TEXT NOT NULL,
        noticed_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        actor TEXT NOT NULL,
        act TEXT NOT NULL,
        subject TEXT NOT NULL,
        before TEXT NOT NULL,                   -- JSON; empty: nothing
        after TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_by_time ON audit (at_ms);
    ALTER TABLE trust_acks RENAME TO old_trust_acks;
    CREATE TABLE trust_acks (
        spiffe_id TEXT NOT NULL,
        replica TEXT NOT NULL,                  -- the instance in hexadecimal; without one the addresses, JSON
        addresses TEXT NOT NULL,                -- JSON array
        sequence INTEGER NOT NULL,
        seen_at_ms INTEGER NOT NULL,
        instance BLOB,                          -- NULL: the process names none
        serial TEXT NOT NULL,                   -- of the certificate that it presented; empty: not on record
        epoch INTEGER NOT NULL,                 -- the generation that it uses
        counter INTEGER NOT NULL,
        PRIMARY KEY (spiffe_id, replica)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO trust_acks SELECT spiffe_id, addresses, addresses, sequence, seen_at_ms, NULL, '', 0, 0
      FROM old_trust_acks;
    DROP TABLE old_trust_acks;
"];

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_sqlite::rusqlite::Connection;

    #[test]
    fn the_current_schema_is_applied_to_an_empty_file() {
        let temp = tempfile::tempdir().unwrap();
        let mut db = Connection::open(temp.path().join("store.db")).unwrap();
        avouch_sqlite::prepare_writer(&mut db, std::time::Duration::ZERO, APPLICATION_ID, MIGRATIONS)
            .unwrap();
        for table in [
            "entries",
            "tokens",
            "issuances",
            "trust_acks",
            "bundle",
            "revocations",
            "revoked_keys",
            "forks",
            "audit",
        ] {
            db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        }
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let mut db = Connection::open(temp.path().join("store.db")).unwrap();
        db.execute_batch("CREATE TABLE theirs (x INTEGER)").unwrap();
        let refused =
            avouch_sqlite::prepare_writer(&mut db, std::time::Duration::ZERO, APPLICATION_ID, MIGRATIONS);
        assert!(matches!(refused, Err(avouch_sqlite::OpenError::Foreign(0))));
    }
}
