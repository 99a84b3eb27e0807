//! The store in one SQLite file: the embedded default.
//!
//! One connection writes, on its own thread, with grouped commits; another reads. The write-ahead log is flushed before
//! a commit returns (`synchronous = FULL`). A full disk makes calls fail as [`StoreError`]; when there is room again they
//! work again, without a restart.

use super::schema::{SchemaError, prepare_reader, prepare_writer};
use super::worker::{Mode, Worker};
use super::{
    Commit, CommitOutcome, Counts, Entry, EntryId, Issuance, IssuanceFilter, KeyHash, NewEntry, NewToken,
    Store, StoreError, StoreFuture, TokenHash, TokenState, TrustAck, jobs,
};
use avouch_files::{PrivateDirError, check_private_file, create_private_file};
use avouch_spiffe::SpiffeId;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Why the store's file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its file, or one that SQLite keeps beside it, is not ours alone or cannot be created.
    #[error("the store's file cannot be used")]
    File(#[from] PrivateDirError),
    /// It is no store of ours, or not of this version.
    #[error("cannot use {path} as the store")]
    Schema {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SchemaError,
    },
}

/// The store. Dropping it ends its threads once the calls in flight are done.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Worker,
    reader: Worker,
}

impl SqliteStore {
    /// Opens the file, creating or migrating it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        // SQLite opens files by their paths, wherever links lead, and reads of a log what it finds. Those that it makes
        // beside this one take its mode.
        create_private_file(path)?;
        for ending in ["-wal", "-shm", "-journal"] {
            let mut beside = path.as_os_str().to_owned();
            beside.push(ending);
            check_private_file(Path::new(&beside))?;
        }
        let schema_error = |source| OpenError::Schema { path: path.to_owned(), source };
        let (write_path, read_path) = (path.to_owned(), path.to_owned());
        let writer = Worker::start("store-writer", Mode::Write, move || open_writer(&write_path))
            .map_err(schema_error)?;
        let reader = Worker::start("store-reader", Mode::Read, move || open_reader(&read_path))
            .map_err(schema_error)?;
        Ok(Self { writer, reader })
    }

    fn write<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(self.writer.call(work))
    }

    fn read<T, F>(&self, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(self.reader.call(work))
    }

    /// Lets the file grow by at most so many pages more: a full disk, as SQLite sees one. `None` lifts it.
    #[cfg(test)]
    pub(super) async fn limit_growth(&self, pages: Option<i64>) {
        self.writer
            .call(move |db| {
                let size: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
                let most = pages.map_or(1 << 30, |pages| size + pages);
                db.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))
            })
            .await
            .unwrap();
    }
}

fn open_writer(path: &Path) -> Result<Connection, SchemaError> {
    let mut db = Connection::open_with_flags(path, flags())?;
    prepare_writer(&mut db)?;
    Ok(db)
}

fn open_reader(path: &Path) -> Result<Connection, SchemaError> {
    let db = Connection::open_with_flags(path, flags())?;
    prepare_reader(&db)?;
    Ok(db)
}

/// The path is a path and never a URI with parameters; a connection stays on its thread.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

impl Store for SqliteStore {
    fn create_entry(&self, entry: NewEntry) -> StoreFuture<'_, Option<Entry>> {
        self.write(move |db| jobs::create_entry(db, &entry))
    }

    fn entry(&self, spiffe_id: &SpiffeId) -> StoreFuture<'_, Option<Entry>> {
        let spiffe_id = spiffe_id.clone();
        self.read(move |db| jobs::entry(db, spiffe_id.as_str()))
    }

    fn entry_by_id(&self, id: EntryId) -> StoreFuture<'_, Option<Entry>> {
        self.read(move |db| jobs::entry_by_id(db, id))
    }

    fn entries(&self) -> StoreFuture<'_, Vec<Entry>> {
        self.read(jobs::entries)
    }

    fn delete_entry(&self, spiffe_id: &SpiffeId) -> StoreFuture<'_, bool> {
        let spiffe_id = spiffe_id.clone();
        self.write(move |db| jobs::delete_entry(db, spiffe_id.as_str()))
    }

    fn create_token(&self, token: NewToken) -> StoreFuture<'_, bool> {
        self.write(move |db| jobs::create_token(db, &token))
    }

    fn token(&self, token: &TokenHash, key: &KeyHash, now: SystemTime) -> StoreFuture<'_, TokenState> {
        let (token, key) = (*token, *key);
        self.read(move |db| jobs::token(db, &token, &key, now))
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, CommitOutcome> {
        self.write(move |db| jobs::commit(db, &commit))
    }

    fn issuance(&self, serial: &str) -> StoreFuture<'_, Option<Issuance>> {
        let serial = serial.to_owned();
        self.read(move |db| jobs::issuance(db, &serial))
    }

    fn note_start(&self, now: SystemTime) -> StoreFuture<'_, ()> {
        self.write(move |db| jobs::note_start(db, now))
    }

    fn may_have_lost(&self, issued_at: SystemTime) -> StoreFuture<'_, bool> {
        self.read(move |db| jobs::may_have_lost(db, issued_at))
    }

    fn issuances(&self, filter: IssuanceFilter) -> StoreFuture<'_, Vec<Issuance>> {
        self.read(move |db| jobs::issuances(db, &filter))
    }

    fn seen(&self, serial: &str, at: SystemTime) -> StoreFuture<'_, ()> {
        let serial = serial.to_owned();
        self.write(move |db| jobs::seen(db, &serial, at))
    }

    fn acknowledge(&self, ack: TrustAck) -> StoreFuture<'_, ()> {
        self.write(move |db| jobs::acknowledge(db, &ack))
    }

    fn acknowledgements(&self) -> StoreFuture<'_, Vec<TrustAck>> {
        self.read(jobs::acknowledgements)
    }

    fn bundle_sequence(&self, content: [u8; 32]) -> StoreFuture<'_, u64> {
        self.write(move |db| jobs::bundle_sequence(db, content))
    }

    fn probe(&self, now: SystemTime) -> StoreFuture<'_, ()> {
        self.write(move |db| jobs::probe(db, now))
    }

    fn counts(&self, now: SystemTime) -> StoreFuture<'_, Counts> {
        self.read(move |db| jobs::counts(db, now))
    }

    fn prune(&self, now: SystemTime, before: SystemTime) -> StoreFuture<'_, u64> {
        self.write(move |db| jobs::prune(db, now, before))
    }
}

impl From<SchemaError> for StoreError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database(error) => error.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
