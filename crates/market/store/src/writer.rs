//! The thread that owns the connection: takes what waits, runs it, commits once, answers.

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;

/// At most this many jobs share a commit, which bounds how long the first of them waits for the others.
const BATCH: usize = 64;

/// Hands a job's answer out, or the reason why the commit failed.
pub(crate) type Finish = Box<dyn FnOnce(Option<&str>) + Send>;

/// Runs inside the open transaction; given an error instead, it only passes that on.
pub(crate) type Job = Box<dyn FnOnce(Result<&Connection, &str>) -> Finish + Send>;

/// Wraps a closure so that its answer, and what is to follow it, wait for the commit.
pub(crate) fn job<T, E, F, D>(run: F, durable: D, answer: oneshot::Sender<Result<T, E>>) -> Job
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    D: FnOnce(&T) + Send + 'static,
{
    Box::new(move |connection| {
        let result = match connection {
            Ok(connection) => in_savepoint(connection, run),
            Err(error) => Err(E::from(StoreError::Commit(error.to_owned()))),
        };
        Box::new(move |failed| {
            let result = match failed {
                None => result,
                Some(error) => Err(E::from(StoreError::Commit(error.to_owned()))),
            };
            if let Ok(value) = &result {
                durable(value);
            }
            // Nobody may be waiting any more: the work is done all the same.
            drop(answer.send(result));
        })
    })
}

/// A job that fails leaves nothing behind, whatever else is in the same transaction.
fn in_savepoint<T, E, F>(connection: &Connection, run: F) -> Result<T, E>
where
    E: From<StoreError>,
    F: FnOnce(&Connection) -> Result<T, E>,
{
    let sql = |sql: &str| connection.execute_batch(sql).map_err(|error| E::from(StoreError::Sqlite(error)));
    sql("SAVEPOINT job")?;
    match run(connection) {
        Ok(value) => sql("RELEASE job").map(|()| value),
        Err(error) => {
            sql("ROLLBACK TO job; RELEASE job")?;
            Err(error)
        }
    }
}

/// Until the last [`crate::Store`] is dropped.
pub(crate) fn run(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        commit(connection, &mut batch);
    }
}

fn commit(connection: &Connection, batch: &mut Vec<Job>) {
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        tracing::error!(%error, "the store cannot begin a transaction");
        let error = error.to_string();
        for job in batch.drain(..) {
            job(Err(&error))(None);
        }
        return;
    }
    let finish: Vec<Finish> = batch.drain(..).map(|job| job(Ok(connection))).collect();
    let failed = connection.execute_batch("COMMIT").err().map(|error| error.to_string());
    if let Some(error) = &failed {
        tracing::error!(%error, "the store cannot commit");
        // Some failures end the transaction, others leave it open: the next BEGIN needs it ended.
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the store cannot roll back");
        }
    }
    for finish in finish {
        finish(failed.as_deref());
    }
}
