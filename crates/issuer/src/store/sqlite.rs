//! The store in one SQLite file: the embedded default.
//!
//! One connection writes, on its own thread, with grouped commits; another reads. The write-ahead log is flushed before
//! a commit returns (`synchronous = FULL`). A full disk makes calls fail as [`StoreError`]; when there is room again they
//! work again, without a restart.

use super::schema::{APPLICATION_ID, MIGRATIONS};
use super::{
    AuditRecord, By, CertificateFilter, CertificateRecord, Commit, CommitOutcome, Counts, Entry, EntryId,
    Epoch, Fork, KeyHash, NewEntry, NewToken, Page, RevocationFilter, RevocationRecord, Revoke,
    RevokeOutcome, RevokedCertificate, StandingRevocation, Store, StoreError, StoreFuture, TokenHash,
    TokenState, TrustAck, TrustRevocations, audit, lineage, queries, revoke_queries, trust_queries,
};
use avouch_files::{PrivateDirError, check_private_file, create_private_file};
use avouch_spiffe::{Generation, Revocation, SpiffeId};
use avouch_sqlite::{Mode, prepare_reader, prepare_writer, rusqlite};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The time for which a transaction waits for another process. The lock of the data directory keeps other issuers away;
/// what is left is a person or a backup with a tool of SQLite's own.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// A store's file that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The database file, or one that SQLite keeps beside it, is accessible to other users or cannot be created.
    #[error("the store's file cannot be used")]
    File(#[from] PrivateDirError),
    /// The file is not an avouch store, or not one of this version.
    #[error("cannot use {path} as the store")]
    Schema {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: avouch_sqlite::OpenError,
    },
}

/// The store. Dropping it ends its threads once the calls in flight are done.
#[derive(Debug)]
pub struct SqliteStore {
    writer: avouch_sqlite::Store,
    reader: avouch_sqlite::Store,
    #[cfg(test)]
    failing: std::sync::atomic::AtomicBool,
    /// The directory of a store that goes with its file.
    #[cfg(test)]
    _dir: Option<tempfile::TempDir>,
}

impl SqliteStore {
    /// Opens the file, creating or migrating it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        // SQLite opens files by their paths, follows symbolic links, and replays a write-ahead log that it finds. The
        // files that it creates beside this one get its mode.
        create_private_file(path)?;
        for ending in ["-wal", "-shm", "-journal"] {
            let mut beside = path.as_os_str().to_owned();
            beside.push(ending);
            check_private_file(Path::new(&beside))?;
        }
        let schema_error = |source| OpenError::Schema { path: path.to_owned(), source };
        let (write_path, read_path) = (path.to_owned(), path.to_owned());
        let writer =
            avouch_sqlite::Store::start("store-writer", Mode::Write, move || open_writer(&write_path))
                .map_err(schema_error)?;
        let reader = avouch_sqlite::Store::start("store-reader", Mode::Read, move || open_reader(&read_path))
            .map_err(schema_error)?;
        Ok(Self {
            writer,
            reader,
            #[cfg(test)]
            failing: std::sync::atomic::AtomicBool::new(false),
            #[cfg(test)]
            _dir: None,
        })
    }

    fn write<T, F>(&self, query: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        #[cfg(test)]
        if let Some(failure) = self.failure() {
            return failure;
        }
        Box::pin(run(&self.writer, query))
    }

    fn read<T, F>(&self, query: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        #[cfg(test)]
        if let Some(failure) = self.failure() {
            return failure;
        }
        Box::pin(run(&self.reader, query))
    }

    #[cfg(test)]
    fn failure<T: Send + 'static>(&self) -> Option<StoreFuture<'_, T>> {
        let failing = self.failing.load(std::sync::atomic::Ordering::SeqCst);
        let error = StoreError::Corrupt("told to fail".to_owned());
        failing.then(|| -> StoreFuture<'_, T> { Box::pin(std::future::ready(Err(error))) })
    }

    /// A store on a file of its own, which goes with it.
    #[cfg(test)]
    pub(crate) fn temporary() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Self::open(&dir.path().join("store.db")).unwrap();
        Self { _dir: Some(dir), ..store }
    }

    /// From now on every call fails (`true`), or works again.
    #[cfg(test)]
    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, std::sync::atomic::Ordering::SeqCst);
    }

    /// As if a backup from before this certificate had been restored.
    #[cfg(test)]
    pub(crate) async fn forget(&self, serial: &str) {
        let serial = serial.to_owned();
        let gone = self.write(move |db| db.execute("DELETE FROM issuances WHERE serial = ?1", [&serial]));
        assert_eq!(gone.await.unwrap(), 1);
    }

    /// Makes a revocation of keys that stand for nothing.
    #[cfg(test)]
    pub(super) async fn revoke_keys(
        &self,
        keys: &[u8],
        ends_at: SystemTime,
        expires_at: Option<SystemTime>,
    ) -> super::RevocationRecord {
        let key = |n: &u8| avouch_spiffe::RevocationKey([*n; 16]);
        let key = |n| super::RevokedKey { key: key(n), serial: None, ends_at };
        self.insert_revocation(keys.iter().map(key).collect(), expires_at).await
    }

    /// Makes a revocation of these keys, whatever is on record.
    #[cfg(test)]
    pub(crate) async fn insert_revocation(
        &self,
        keys: Vec<super::RevokedKey>,
        expires_at: Option<SystemTime>,
    ) -> super::RevocationRecord {
        let new = super::NewRevocation {
            subject: "spiffe://market.example/a".to_owned(),
            spiffe_id: "spiffe://market.example/a".to_owned(),
            by: By::new("uid 0", SystemTime::UNIX_EPOCH),
            expires_at,
            keys,
        };
        let made = self.write(move |db| {
            let since = trust_queries::advance_generation(db)?;
            let id = trust_queries::insert(db, &new, since)?;
            revoke_queries::record(db, id)
        });
        made.await.unwrap().unwrap()
    }

    /// Lets the file grow by at most so many pages more: a full disk, as SQLite sees one. `None` lifts it.
    #[cfg(test)]
    pub(super) async fn limit_growth(&self, pages: Option<i64>) {
        self.write(move |db| {
            let size: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let most = pages.map_or(1 << 30, |pages| size + pages);
            db.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))
        })
        .await
        .unwrap();
    }
}

/// Runs a query on a store's thread.
async fn run<T: Send + 'static>(
    store: &avouch_sqlite::Store,
    mut query: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let answer: Result<T, avouch_sqlite::StoreError> = store.call(move |db| Ok(query(db)?)).await;
    answer.map_err(|error| {
        tracing::error!(%error, "the store cannot answer");
        StoreError::from(error)
    })
}

fn open_writer(path: &Path) -> Result<Connection, avouch_sqlite::OpenError> {
    let mut db = Connection::open_with_flags(path, flags())?;
    prepare_writer(&mut db, BUSY_TIMEOUT, APPLICATION_ID, MIGRATIONS)?;
    Ok(db)
}

fn open_reader(path: &Path) -> Result<Connection, avouch_sqlite::OpenError> {
    let db = Connection::open_with_flags(path, flags())?;
    prepare_reader(&db, BUSY_TIMEOUT)?;
    Ok(db)
}

/// The path is a path and never a URI with parameters; a connection stays on its thread.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

impl Store for SqliteStore {
    fn create_entry(&self, entry: NewEntry, by: By) -> StoreFuture<'_, Option<Entry>> {
        self.write(move |db| queries::create_entry(db, &entry, &by))
    }

    fn entry(&self, spiffe_id: &SpiffeId) -> StoreFuture<'_, Option<Entry>> {
        let spiffe_id = spiffe_id.clone();
        self.read(move |db| queries::entry(db, spiffe_id.as_str()))
    }

    fn entry_by_id(&self, id: EntryId) -> StoreFuture<'_, Option<Entry>> {
        self.read(move |db| queries::entry_by_id(db, id))
    }

    fn entries(&self, page: Page<SpiffeId>) -> StoreFuture<'_, Vec<Entry>> {
        self.read(move |db| queries::entries(db, &page))
    }

    fn delete_entry(&self, spiffe_id: &SpiffeId, by: By) -> StoreFuture<'_, bool> {
        let spiffe_id = spiffe_id.clone();
        self.write(move |db| queries::delete_entry(db, spiffe_id.as_str(), &by))
    }

    fn create_token(&self, token: NewToken, by: By) -> StoreFuture<'_, bool> {
        self.write(move |db| queries::create_token(db, &token, &by))
    }

    fn token(&self, token: &TokenHash, key: &KeyHash, now: SystemTime) -> StoreFuture<'_, TokenState> {
        let (token, key) = (*token, *key);
        self.read(move |db| queries::token(db, &token, &key, now))
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, CommitOutcome> {
        self.write(move |db| queries::commit(db, &commit))
    }

    fn certificate(&self, serial: &str) -> StoreFuture<'_, Option<CertificateRecord>> {
        let serial = serial.to_owned();
        self.read(move |db| lineage::certificate(db, &serial))
    }

    fn record_startup(&self, now: SystemTime) -> StoreFuture<'_, ()> {
        self.write(move |db| queries::record_startup(db, now))
    }

    fn in_recovery_gap(&self, issued_at: SystemTime) -> StoreFuture<'_, bool> {
        self.read(move |db| queries::in_recovery_gap(db, issued_at))
    }

    fn certificates(
        &self,
        filter: CertificateFilter,
        page: Page<String>,
    ) -> StoreFuture<'_, Vec<CertificateRecord>> {
        self.read(move |db| queries::certificates(db, &filter, &page))
    }

    fn seen(&self, serial: &str, at: SystemTime) -> StoreFuture<'_, ()> {
        let serial = serial.to_owned();
        self.write(move |db| queries::seen(db, &serial, at))
    }

    fn acknowledge(&self, ack: TrustAck) -> StoreFuture<'_, ()> {
        self.write(move |db| trust_queries::acknowledge(db, &ack))
    }

    fn acknowledgements(&self, page: Page<(SpiffeId, String)>) -> StoreFuture<'_, Vec<TrustAck>> {
        self.read(move |db| trust_queries::acknowledgements(db, &page))
    }

    fn begin_epoch(&self, now: SystemTime) -> StoreFuture<'_, Epoch> {
        self.write(move |db| trust_queries::begin_epoch(db, now))
    }

    fn advance_generation(&self) -> StoreFuture<'_, Generation> {
        self.write(trust_queries::advance_generation)
    }

    fn trust_revocations(&self, now: SystemTime) -> StoreFuture<'_, TrustRevocations> {
        self.read(move |db| {
            // Two statements of one moment.
            let moment = db.unchecked_transaction()?;
            trust_queries::trust_revocations(&moment, now)
        })
    }

    fn revoke(&self, revoke: Revoke) -> StoreFuture<'_, RevokeOutcome> {
        self.write(move |db| revoke_queries::revoke(db, &revoke))
    }

    fn undo_revocation(&self, id: i64, by: By) -> StoreFuture<'_, Option<RevocationRecord>> {
        self.write(move |db| revoke_queries::undo(db, id, &by))
    }

    fn revocations(
        &self,
        filter: RevocationFilter,
        page: Page<i64>,
    ) -> StoreFuture<'_, Vec<RevocationRecord>> {
        self.read(move |db| revoke_queries::records(db, &filter, &page))
    }

    fn standing_revocation(
        &self,
        spiffe_id: &SpiffeId,
        serial: Option<String>,
        now: SystemTime,
    ) -> StoreFuture<'_, Option<StandingRevocation>> {
        let spiffe_id = spiffe_id.clone();
        self.read(move |db| lineage::standing(db, &spiffe_id, serial.as_deref(), now))
    }

    fn revoked_certificates(
        &self,
        now: SystemTime,
        ended_after: SystemTime,
    ) -> StoreFuture<'_, Vec<RevokedCertificate>> {
        self.read(move |db| revoke_queries::revoked_certificates(db, now, ended_after))
    }

    fn forks(&self, now: SystemTime, ended: bool) -> StoreFuture<'_, Vec<Fork>> {
        self.read(move |db| lineage::forks(db, now, ended))
    }

    fn audit(&self, since: SystemTime, page: Page<i64>) -> StoreFuture<'_, Vec<AuditRecord>> {
        self.read(move |db| audit::list(db, since, &page))
    }

    fn return_revocations(
        &self,
        from: &SpiffeId,
        revocations: Vec<Revocation>,
        at: SystemTime,
    ) -> StoreFuture<'_, usize> {
        let from = from.clone();
        self.write(move |db| trust_queries::return_revocations(db, &from, &revocations, at))
    }

    fn bundle_sequence(&self, content: [u8; 32]) -> StoreFuture<'_, u64> {
        self.write(move |db| queries::bundle_sequence(db, content))
    }

    fn probe(&self, now: SystemTime) -> StoreFuture<'_, ()> {
        self.write(move |db| queries::probe(db, now))
    }

    fn counts(&self, now: SystemTime) -> StoreFuture<'_, Counts> {
        self.read(move |db| queries::counts(db, now))
    }

    fn prune(&self, now: SystemTime, before: SystemTime) -> StoreFuture<'_, u64> {
        self.write(move |db| {
            let trust = u64::try_from(trust_queries::prune(db, before)?).unwrap_or(u64::MAX);
            Ok(queries::prune(db, now, before)? + trust)
        })
    }
}

impl From<avouch_sqlite::StoreError> for StoreError {
    fn from(error: avouch_sqlite::StoreError) -> Self {
        match error {
            avouch_sqlite::StoreError::Closed => Self::Stopped,
            avouch_sqlite::StoreError::Sqlite(error) | avouch_sqlite::StoreError::Commit(error) => {
                Self::Database(error)
            }
            other => Self::Database(Arc::new(other)),
        }
    }
}
