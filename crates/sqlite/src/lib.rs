//! One SQLite file behind one thread that groups commits.
//!
//! A job is a closure over the open transaction. Its answer is handed out only after the commit that contains it has
//! reached the disk (WAL, `synchronous = FULL`), so an `Ok` survives a power failure. Jobs that wait at the same time
//! share one commit; each runs in a savepoint of its own, so one that fails is rolled back without the others.
//!
//! Refuses: a database of another program or of a newer one, a file system without a write-ahead log, and to answer before
//! the commit. Processes of one host may share a file: each transaction is whole, and waits for the others'.

mod schema;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use rusqlite;
use rusqlite::Connection;
pub use schema::{OpenError, prepare_reader, prepare_writer};
use tokio::sync::{mpsc, oneshot};
pub use worker::Mode;
use worker::{Call, Job};

/// The length of the job queue; when it is full, callers wait.
const QUEUE: usize = 1024;

/// The time for which a transaction waits for other processes: several may share a file, and each holds it for a batch.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A failure of the store itself. A job's own errors are its own type.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused: disk full, a constraint, a damaged file.
    #[error("the database refused: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    /// The transaction that contained the job could not be begun or committed; nothing of it was kept.
    #[error("nothing was kept: {0}")]
    Commit(Arc<rusqlite::Error>),
    /// A row holds something that the program never writes.
    #[error("the database holds an unreadable {0}")]
    Corrupt(&'static str),
    /// The file cannot be used as a store.
    #[error("cannot open the store: {0}")]
    Open(Arc<OpenError>),
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self::Open(Arc::new(error))
    }
}

/// An open connection on a thread of its own. Cheap to clone; the file closes when the last clone is dropped and the jobs
/// that wait are done.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Store {
    /// Opens the file at `path`, makes it and its folder if absent, and brings its schema up to date.
    ///
    /// `migrations` are SQL scripts; the file remembers how many of them it has had. Append only.
    ///
    /// # Errors
    /// [`StoreError::Open`].
    pub fn open(path: &Path, migrations: &'static [&'static str]) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(OpenError::Io)?;
        }
        let path = path.to_owned();
        let open = move || -> Result<Connection, OpenError> {
            let mut connection = Connection::open(&path)?;
            prepare_writer(&mut connection, BUSY_TIMEOUT, 0, migrations)?;
            Ok(connection)
        };
        Ok(Self::start("store", Mode::Write, open)?)
    }

    /// Starts a thread on the connection that `open` gives; `open` is called again if the connection breaks.
    ///
    /// # Errors
    /// Those of `open`, and [`OpenError::Io`] when there can be no thread.
    pub fn start(
        name: &str,
        mode: Mode,
        open: impl Fn() -> Result<Connection, OpenError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let connection = open()?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || worker::run(queue, connection, mode, || open().ok()))
            .map_err(OpenError::Io)?;
        Ok(Self { jobs })
    }

    /// Runs `job` in a transaction and answers once it is durable. An `Err` of the job undoes what it did.
    ///
    /// It may run more than once; only the last run counts. Dropping the returned future before it is ready leaves open
    /// whether the job runs: make jobs idempotent.
    ///
    /// # Errors
    /// The job's own, or a [`StoreError`] turned into it.
    pub async fn call<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.call_then(job, |_value| ()).await
    }

    /// As [`Store::call`]; `durable` sees the value once it is durable, whether or not anybody still waits for the answer.
    ///
    /// It runs on the store's thread, before the answers to this and all later jobs: it must not block.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub async fn call_then<T, E, F, D>(&self, job: F, durable: D) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&Connection) -> Result<T, E> + Send + 'static,
        D: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Call { work: job, durable, result: None, reply });
        self.jobs.send(job).await.map_err(|_closed| StoreError::Closed)?;
        answer.await.map_err(|_closed| StoreError::Closed)?
    }
}

#[cfg(test)]
mod tests;
