//! A thread that owns one database connection and runs jobs on it, several to a transaction when several wait.
//!
//! Group commit without delay: the thread takes what is waiting when it becomes free and never waits for more, so a
//! lone job commits at once and a crowd shares one flush of the disk. A batch that fails is rolled back and its jobs run
//! again one by one: one that cannot succeed fails alone. A job is answered after its commit, never before.

use super::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait before their senders have to.
const QUEUE: usize = 1024;
/// Jobs of one transaction at most: bounds how long the first of them waits for the last.
const BATCH: usize = 256;

/// How the jobs of a worker reach the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Batches in immediate transactions.
    Write,
    /// Each job by itself.
    Read,
}

/// The sending side. Dropping the last one ends the thread after the jobs that wait.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Worker {
    /// Starts a thread on the connection that `open` gives; `open` is called again if the connection breaks.
    pub(super) fn start<E: From<rusqlite::Error>>(
        name: &str,
        mode: Mode,
        open: impl Fn() -> Result<Connection, E> + Send + 'static,
    ) -> Result<Self, E> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let db = open()?;
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(queue, db, mode, || open().ok()))
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the thread. It may run more than once; only the last run counts.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Call { work, result: None, reply });
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

trait Job: Send {
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()>;
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<T, F> {
    work: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.result = Some((self.work)(db)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, reply, .. } = *self;
        let answer = outcome.and_then(|()| result.ok_or(StoreError::Stopped));
        let _ = reply.send(answer); // the caller may be gone
    }
}

fn run(
    mut queue: mpsc::Receiver<Box<dyn Job>>,
    mut db: Connection,
    mode: Mode,
    reopen: impl Fn() -> Option<Connection>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        match mode {
            Mode::Read => one_by_one(&mut db, &mut batch, run_alone),
            Mode::Write => match transact(&mut db, &mut batch) {
                Ok(()) => batch.drain(..).for_each(|job| job.finish(Ok(()))),
                Err(_) => one_by_one(&mut db, &mut batch, |db, job| transact(db, std::slice::from_mut(job))),
            },
        }
        // After some input/output errors SQLite leaves a transaction open that it cannot roll back.
        if !db.is_autocommit()
            && let Some(fresh) = reopen()
        {
            db = fresh;
        }
    }
}

fn one_by_one(
    db: &mut Connection,
    batch: &mut Vec<Box<dyn Job>>,
    run: impl Fn(&mut Connection, &mut Box<dyn Job>) -> rusqlite::Result<()>,
) {
    for mut job in batch.drain(..) {
        let outcome = run(db, &mut job).map_err(StoreError::from);
        if let Err(error) = &outcome {
            tracing::error!(error = %avouch_text::with_causes(error), "the store cannot answer");
        }
        job.finish(outcome);
    }
}

fn run_alone(db: &mut Connection, job: &mut Box<dyn Job>) -> rusqlite::Result<()> {
    job.run(db)
}

fn transact(db: &mut Connection, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in jobs {
        job.run(&tx)?;
    }
    tx.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    fn counter() -> Worker {
        Worker::start("test-store", Mode::Write, || {
            let db = Connection::open_in_memory()?;
            db.execute_batch("CREATE TABLE t (x INTEGER NOT NULL CHECK (x <> 13))")?;
            Ok::<_, rusqlite::Error>(db)
        })
        .unwrap()
    }

    async fn insert(worker: &Worker, x: i64) -> Result<(), StoreError> {
        worker.call(move |db| db.execute("INSERT INTO t VALUES (?1)", [x]).map(|_| ())).await
    }

    async fn count(worker: &Worker) -> i64 {
        worker.call(|db| db.query_row("SELECT count(*) FROM t", [], |row| row.get(0))).await.unwrap()
    }

    #[tokio::test]
    async fn a_job_that_cannot_succeed_fails_alone_and_takes_nobody_with_it() {
        let worker = Arc::new(counter());
        // Holds the thread until everything below waits, so that it becomes one batch.
        let gate = Arc::new(Barrier::new(2));
        let held = {
            let (worker, gate) = (Arc::clone(&worker), Arc::clone(&gate));
            tokio::spawn(async move {
                let mut gate = Some(gate);
                worker.call(move |_| Ok(gate.take().map(|gate| gate.wait()).is_some())).await
            })
        };
        tokio::task::yield_now().await;
        let calls: Vec<_> = (10..20)
            .map(|x| {
                let worker = Arc::clone(&worker);
                tokio::spawn(async move { insert(&worker, x).await })
            })
            .collect();
        while worker.jobs.capacity() > QUEUE - calls.len() {
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
        held.await.unwrap().unwrap();
        let mut failed = 0;
        for call in calls {
            failed += usize::from(call.await.unwrap().is_err());
        }
        assert_eq!((failed, count(&worker).await), (1, 9));
    }

    #[tokio::test]
    async fn a_caller_that_left_does_not_stop_the_thread() {
        let worker = counter();
        for x in 0..10 {
            let mut call = Box::pin(insert(&worker, x));
            let waker = std::task::Waker::noop();
            let _ = call.as_mut().poll(&mut std::task::Context::from_waker(waker));
            drop(call);
        }
        insert(&worker, 100).await.unwrap();
        assert_eq!(count(&worker).await, 11);
    }
}
