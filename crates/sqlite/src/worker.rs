//! The thread that owns the connection: takes the waiting jobs, runs them, commits once, answers.
//!
//! Group commit without delay: the thread takes the jobs that wait when it becomes free and never waits for more, so a
//! single job commits at once and concurrent jobs share one flush of the disk. A job that fails is rolled back alone. A
//! batch whose transaction fails is rolled back and its jobs run again one by one, so that a job for which the disk has
//! no room fails alone too.

use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior, ffi};
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;

/// At most this many jobs share a commit, which bounds how long the first of them waits for the last.
const BATCH: usize = 256;

/// The way the jobs of a store reach the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batches in immediate transactions.
    Write,
    /// Each job by itself.
    Read,
}

/// A job in the queue.
pub(crate) trait Job: Send {
    /// Runs in a savepoint. An error means that the transaction cannot go on; the job's own error is kept for the answer.
    fn run_in_savepoint(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Runs without a transaction.
    fn run(&mut self, connection: &Connection);
    /// Sends the answer. `failed`: the error for which its transaction was rolled back.
    fn finish(self: Box<Self>, failed: Option<Arc<rusqlite::Error>>);
}

/// A closure, the callback that follows its commit, and the channel for its answer.
pub(crate) struct Call<T, E, F, D> {
    pub(crate) work: F,
    pub(crate) durable: D,
    pub(crate) result: Option<Result<T, E>>,
    pub(crate) reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F, D> Job for Call<T, E, F, D>
where
    T: Send,
    E: From<StoreError> + Send,
    F: FnMut(&Connection) -> Result<T, E> + Send,
    D: FnOnce(&T) + Send,
{
    fn run_in_savepoint(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("SAVEPOINT job")?.execute([])?;
        let result = self.result.insert((self.work)(connection));
        // When a statement failed for a full disk or an input/output error, SQLite may have rolled the transaction back
        // by itself. Further statements would then commit one by one.
        if connection.is_autocommit() {
            return Err(ended());
        }
        if result.is_err() {
            connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        connection.prepare_cached("RELEASE job")?.execute([])?;
        Ok(())
    }

    fn run(&mut self, connection: &Connection) {
        self.result = Some((self.work)(connection));
    }

    fn finish(self: Box<Self>, failed: Option<Arc<rusqlite::Error>>) {
        let Self { durable, result, reply, .. } = *self;
        let answer = match (result, failed) {
            // The job's own error takes precedence: a failed job keeps nothing in any case, and its error is more
            // specific.
            (Some(Err(error)), _) => Err(error),
            (_, Some(error)) => Err(StoreError::Commit(error).into()),
            (Some(Ok(value)), None) => {
                durable(&value);
                Ok(value)
            }
            (None, None) => Err(StoreError::Closed.into()),
        };
        // The receiver may have been dropped; the job is done all the same.
        drop(reply.send(answer));
    }
}

fn ended() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK), None)
}

/// Serves the queue until the last [`crate::Store`] is dropped.
pub(crate) fn run(
    mut queue: mpsc::Receiver<Box<dyn Job>>,
    mut connection: Connection,
    mode: Mode,
    reopen: impl Fn() -> Option<Connection>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        match mode {
            Mode::Write => write(&mut connection, &mut batch),
            Mode::Read => {
                for mut job in batch.drain(..) {
                    job.run(&connection);
                    job.finish(None);
                }
            }
        }
        // After some input/output errors SQLite leaves a transaction open that it cannot roll back.
        if !connection.is_autocommit()
            && let Some(fresh) = reopen()
        {
            connection = fresh;
        }
    }
}

/// Runs the batch in one transaction, and answers after its commit.
fn write(connection: &mut Connection, batch: &mut Vec<Box<dyn Job>>) {
    // IMMEDIATE takes the write lock at BEGIN. A deferred transaction that has read could not wait for another
    // process's lock when it begins to write.
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            // Not repeated job by job: where another process holds the file, each job would wait for a timeout of its
            // own.
            tracing::error!(%error, "the store cannot begin a transaction");
            let error = Arc::new(error);
            batch.drain(..).for_each(|job| job.finish(Some(Arc::clone(&error))));
            return;
        }
    };
    // A transaction that is dropped, or whose COMMIT fails and leaves it open, is rolled back.
    let done = batch
        .iter_mut()
        .try_for_each(|job| job.run_in_savepoint(&transaction))
        .and_then(|()| transaction.commit());
    match done {
        Ok(()) => batch.drain(..).for_each(|job| job.finish(None)),
        Err(error) if batch.len() == 1 => {
            tracing::error!(%error, "the store cannot commit");
            let error = Arc::new(error);
            batch.drain(..).for_each(|job| job.finish(Some(Arc::clone(&error))));
        }
        Err(_) => {
            for job in std::mem::take(batch) {
                write(connection, &mut vec![job]);
            }
        }
    }
}
