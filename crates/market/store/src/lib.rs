//! The durable store of the market's services: one SQLite file, one thread, grouped commits.
//!
//! A job is a closure over the open transaction. Its answer is handed out only after the commit that contains it has
//! reached the disk (WAL, `synchronous = FULL`), so whoever sees an `Ok` can rely on it after a power cut. Jobs that
//! wait at the same time share one commit; each runs in a savepoint of its own, so one that fails takes nothing of
//! its neighbours with it.
//!
//! Refuses: a database whose schema is newer than the program, and to answer before the commit. Processes of one host
//! may share a file: each transaction is whole, and waits for the others'.

mod migrate;
mod writer;

use std::path::Path;
use std::thread;

pub use rusqlite;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::writer::Job;

/// How many jobs may wait before callers wait too.
const QUEUE: usize = 1024;

/// What went wrong in the store itself. A job's own errors are its own type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused: disk full, a constraint, a damaged file.
    #[error("the database refused: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The transaction that contained the job could not be begun or committed; nothing of it was kept.
    #[error("nothing was kept: {0}")]
    Commit(String),
    /// The file was written by a newer program.
    #[error("the database has schema {found}, this program knows {known}")]
    SchemaTooNew {
        /// Version in the file.
        found: usize,
        /// Newest version the program has.
        known: usize,
    },
    /// A row holds something that the program never writes.
    #[error("the database holds an unreadable {0}")]
    Corrupt(&'static str),
    /// The folder for the file could not be made, or the thread not be started.
    #[error("cannot open the store: {0}")]
    Open(std::io::Error),
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

/// An open store. Cheap to clone; the file closes when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens the file at `path`, makes it and its folder if absent, and brings its schema up to date.
    ///
    /// `migrations` are SQL scripts; the file remembers how many of them it has had. Append only.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`], [`StoreError::Open`], or what SQLite says of the file or a script.
    pub fn open(path: &Path, migrations: &'static [&'static str]) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(StoreError::Open)?;
        }
        let mut connection = Connection::open(path)?;
        configure(&connection)?;
        migrate::migrate(&mut connection, migrations)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer::run(&connection, queue))
            .map_err(StoreError::Open)?;
        Ok(Self { jobs })
    }

    /// Runs `job` in a transaction and answers once it is durable. An `Err` of the job undoes what it did.
    ///
    /// Dropping the returned future before it is ready leaves open whether the job runs: make jobs idempotent.
    ///
    /// # Errors
    /// The job's own, or a [`StoreError`] turned into it.
    pub async fn call<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
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
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        D: FnOnce(&T) + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = writer::job(job, durable, answer);
        self.jobs.send(job).await.map_err(|_closed| StoreError::Closed)?;
        answered.await.map_err(|_closed| StoreError::Closed)?
    }
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    Ok(())
}

#[cfg(test)]
mod tests;
