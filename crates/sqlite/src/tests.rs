use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const SCHEMA: &[&str] =
    &["CREATE TABLE item (id INTEGER PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0)) STRICT"];

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("deep/er/store.db"), SCHEMA).unwrap()
}

async fn insert(store: &Store, id: i64, n: i64) -> Result<(), StoreError> {
    store
        .call(move |c| {
            c.execute("INSERT INTO item (id, n) VALUES (?1, ?2)", (id, n))?;
            Ok(())
        })
        .await
}

async fn count(store: &Store) -> i64 {
    store
        .call::<_, StoreError, _>(|c| Ok(c.query_row("SELECT count(*) FROM item", [], |row| row.get(0))?))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_answered_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    insert(&store, 1, 1).await.unwrap();
    drop(store);
    assert_eq!(count(&open(&folder)).await, 1);
}

#[tokio::test]
async fn a_job_that_fails_leaves_nothing_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let result: Result<(), StoreError> = store
        .call(|c| {
            c.execute("INSERT INTO item (id, n) VALUES (1, 1)", [])?;
            Err(StoreError::Corrupt("thing"))
        })
        .await;
    assert!(matches!(result, Err(StoreError::Corrupt("thing"))));
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn jobs_in_one_commit_fail_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let held = Held::new(&store).await;
    let failed = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> = (0..40)
        .map(|id| {
            let (store, failed) = (store.clone(), Arc::clone(&failed));
            tokio::spawn(async move {
                // Every fourth one breaks the CHECK.
                if insert(&store, id, if id % 4 == 0 { -1 } else { 1 }).await.is_err() {
                    failed.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    held.until_waiting(jobs.len()).await;
    for job in jobs {
        job.await.unwrap();
    }
    assert_eq!(failed.load(Ordering::SeqCst), 10);
    assert_eq!(count(&store).await, 30);
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(Store::open(&path, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap());
    let refused = Store::open(&path, SCHEMA);
    let Err(StoreError::Open(refused)) = refused else { panic!("{refused:?}") };
    assert!(matches!(*refused, OpenError::TooNew { found: 2, known: 1 }), "{refused:?}");
}

#[tokio::test]
async fn a_later_program_adds_only_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Store::open(&path, SCHEMA).unwrap();
    insert(&store, 1, 1).await.unwrap();
    drop(store);
    let both: &[&str] = &[SCHEMA[0], "ALTER TABLE item ADD COLUMN note TEXT"];
    let store = Store::open(&path, Box::leak(Box::new([both[0], both[1]]))).unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_broken_script_leaves_the_version_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(Store::open(&path, &["CREATE TABLE a (x)"]).unwrap());
    let broken = Store::open(&path, &["CREATE TABLE a (x)", "CREATE TABLE b (x); NONSENSE"]);
    let Err(StoreError::Open(broken)) = broken else { panic!("{broken:?}") };
    assert!(matches!(*broken, OpenError::Database(_)), "{broken:?}");
    let version: i64 =
        Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
}

#[tokio::test]
async fn the_file_is_in_wal_mode_and_synchronous_full() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (mode, sync): (String, i64) = store
        .call::<_, StoreError, _>(|c| {
            Ok((
                c.query_row("PRAGMA journal_mode", [], |row| row.get(0))?,
                c.query_row("PRAGMA synchronous", [], |row| row.get(0))?,
            ))
        })
        .await
        .unwrap();
    assert_eq!((mode.as_str(), sync), ("wal", 2));
}

#[tokio::test]
async fn a_file_that_somebody_else_holds_is_an_error_and_works_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store
        .call::<_, StoreError, _>(|c| Ok(c.busy_timeout(std::time::Duration::from_millis(10))?))
        .await
        .unwrap();
    let other = Connection::open(folder.path().join("deep/er/store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(insert(&store, 1, 1).await, Err(StoreError::Commit(_))));
    other.execute_batch("ROLLBACK").unwrap();
    insert(&store, 1, 1).await.unwrap();
    assert_eq!(count(&store).await, 1);
}

/// A store whose thread is kept busy, so that the jobs that wait meanwhile become one batch.
struct Held {
    store: Store,
    go: std::sync::mpsc::Sender<()>,
    busy: tokio::task::JoinHandle<Result<(), StoreError>>,
}

impl Held {
    async fn new(store: &Store) -> Self {
        let (go, wait) = std::sync::mpsc::channel();
        let started = Arc::new(tokio::sync::Notify::new());
        let running = Arc::clone(&started);
        let busy = tokio::spawn({
            let store = store.clone();
            async move {
                let hold = move |_: &Connection| {
                    running.notify_one();
                    wait.recv().ok();
                    Ok(())
                };
                store.call(hold).await
            }
        });
        // Taken by the thread, so that what comes now is in the next batch.
        started.notified().await;
        Self { store: store.clone(), go, busy }
    }

    /// Lets the thread go on once so many jobs wait.
    async fn until_waiting(self, jobs: usize) {
        while self.store.jobs.capacity() > QUEUE - jobs {
            tokio::task::yield_now().await;
        }
        self.go.send(()).unwrap();
        self.busy.await.unwrap().unwrap();
    }
}

/// A store in memory, for which 13 is no number.
fn counter() -> Store {
    Store::start("test-store", Mode::Write, || {
        let db = Connection::open_in_memory()?;
        db.execute_batch("CREATE TABLE item (id INTEGER, n INTEGER NOT NULL CHECK (n <> 13))")?;
        Ok(db)
    })
    .unwrap()
}

#[tokio::test]
async fn a_job_that_cannot_succeed_fails_alone_and_takes_nobody_with_it() {
    let store = counter();
    let held = Held::new(&store).await;
    let calls: Vec<_> = (10..20)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { insert(&store, n, n).await })
        })
        .collect();
    held.until_waiting(calls.len()).await;
    let mut failed = 0;
    for call in calls {
        failed += usize::from(call.await.unwrap().is_err());
    }
    assert_eq!((failed, count(&store).await), (1, 9));
}

#[tokio::test]
async fn a_caller_that_left_does_not_stop_the_thread() {
    let store = counter();
    for n in 0..10 {
        let mut call = Box::pin(insert(&store, n, n));
        let waker = std::task::Waker::noop();
        let _ = call.as_mut().poll(&mut std::task::Context::from_waker(waker));
        drop(call);
    }
    insert(&store, 100, 100).await.unwrap();
    assert_eq!(count(&store).await, 11);
}

#[tokio::test]
async fn a_job_that_ends_the_transaction_of_its_batch_fails_alone() {
    let store = counter();
    let held = Held::new(&store).await;
    let before = tokio::spawn({
        let store = store.clone();
        async move { insert(&store, 1, 1).await }
    });
    // As SQLite does by itself when the disk is full.
    let ends = tokio::spawn({
        let store = store.clone();
        async move { store.call::<(), StoreError, _>(|c| Ok(c.execute_batch("ROLLBACK")?)).await }
    });
    let after = tokio::spawn({
        let store = store.clone();
        async move { insert(&store, 2, 2).await }
    });
    held.until_waiting(3).await;
    before.await.unwrap().unwrap();
    after.await.unwrap().unwrap();
    assert!(matches!(ends.await.unwrap(), Err(StoreError::Commit(_))));
    assert_eq!(count(&store).await, 2);
}
