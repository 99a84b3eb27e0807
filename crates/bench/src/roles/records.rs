//! Durable records: rows of the issuer's inventory, each answered only when it is on disk.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use avouch_issuer::store::sqlite::SqliteStore;
use avouch_issuer::store::{
    By, CertificateRecord, Commit, CommitOutcome, Entry, KeyHash, NewEntry, Origin, Store,
};
use avouch_sqlite::{prepare_writer, rusqlite};
use avouch_testkit::ca::id;
use avouch_text::with_causes;
use avouch_time::clock::{self, SharedClock};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::load::{self, Done, Tally, closed_loops};
use super::{Commands, say};
use crate::error::Error;

/// The name of the role.
pub const NAME: &str = "records";

/// The name of the thread on which the issuer's store writes.
pub const STORE_THREAD: &str = "store-writer";

/// The rows of a transaction that a program writes by itself.
const GROUP: u64 = 64;

/// Octets that are written before each flush of a file.
const PAGE: [u8; 4096] = [7; 4096];

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 4 KiB, over the same place of a file, and a flush: what the disk can do.
    Flush,
    /// SQLite in a loop that knows all rows beforehand: 64 in a transaction.
    Sqlite,
    /// The issuer's store: renewals, each of which also notes that the certificate before it was seen.
    Store,
}

/// A command: to write.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// What is written.
    pub kind: Kind,
    /// Writers at the same time, for the issuer's store.
    pub callers: usize,
    /// For how long, in milliseconds.
    pub milliseconds: u64,
}

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Where the files are, on the disk that is measured.
    pub dir: PathBuf,
    /// Workloads whose certificates are renewed.
    pub workloads: usize,
}

/// What it says when the files are there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// Writes as it is told until the input ends.
///
/// # Errors
/// When something cannot be written.
pub async fn run(options: Options) -> Result<(), Error> {
    let failed = Error::system(format!("make {}", options.dir.display()));
    std::fs::create_dir_all(&options.dir).map_err(failed)?;
    let mut file = File::create(options.dir.join("flush")).map_err(Error::system("make a file"))?;
    let mut bare = Bare::open(&options.dir.join("bare.db")).map_err(|error| refused(&error))?;
    let inventory = Inventory::open(&options).await?;
    let mut writers = Vec::new();
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(Work { kind, callers, milliseconds }) = commands.next().await? {
        let time = Duration::from_millis(milliseconds);
        let done = match kind {
            Kind::Flush => repeat(time, 1, || flush(&mut file).map_err(Error::system("flush a file")))?,
            Kind::Sqlite => bare.measure(time)?,
            Kind::Store => {
                let before = inventory.rows().await?;
                while writers.len() < callers {
                    writers.push(inventory.writer(writers.len(), options.workloads));
                }
                let mut done = closed_loops(&mut writers, load::Work { callers, milliseconds }).await?;
                done.recorded = inventory.rows().await?.saturating_sub(before);
                done
            }
        };
        say(&done)?;
    }
    Ok(())
}

fn refused(error: &dyn std::error::Error) -> Error {
    Error::other(format!("the store: {}", with_causes(error)))
}

/// Does `once`, which writes so many rows, until the time is over.
fn repeat(time: Duration, rows: u64, mut once: impl FnMut() -> Result<(), Error>) -> Result<Done, Error> {
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut last = began;
    while last - began < time {
        once()?;
        let now = Instant::now();
        tally.add(now - last, Ok(()));
        last = now;
    }
    let done = tally.done(last - began);
    Ok(Done { calls: done.calls * rows, recorded: done.calls * rows, ..done })
}

fn flush(file: &mut File) -> std::io::Result<()> {
    file.rewind()?;
    file.write_all(&PAGE)?;
    file.sync_data()
}

/// Serial numbers as the issuer makes them: they begin with the time.
#[derive(Debug, Default)]
struct Serials(AtomicU64);

impl Serials {
    fn next(&self, now_millis: i64) -> String {
        // Only different ones are needed.
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        format!("{now_millis:012x}{:020x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// SQLite with the settings and the table of the issuer.
struct Bare {
    db: Connection,
    serials: Serials,
    clock: SharedClock,
}

impl Bare {
    fn open(path: &Path) -> Result<Self, avouch_sqlite::OpenError> {
        let mut db = Connection::open(path)?;
        // The table of issued certificates, without anything else.
        let schema = "CREATE TABLE issuances (serial TEXT PRIMARY KEY, entry_id INTEGER, spiffe_id TEXT NOT NULL,
            key BLOB NOT NULL, not_before_ms INTEGER NOT NULL, not_after_ms INTEGER NOT NULL,
            issued_at_ms INTEGER NOT NULL, origin TEXT NOT NULL, last_seen_ms INTEGER) STRICT, WITHOUT ROWID;";
        prepare_writer(&mut db, Duration::ZERO, 0, &[schema])?;
        Ok(Self { db, serials: Serials::default(), clock: clock::system() })
    }

    fn measure(&mut self, time: Duration) -> Result<Done, Error> {
        let before = self.rows().map_err(|error| refused(&error))?;
        let done = repeat(time, GROUP, || self.group().map_err(|error| refused(&error)))?;
        let after = self.rows().map_err(|error| refused(&error))?;
        Ok(Done { recorded: after.saturating_sub(before), ..done })
    }

    fn rows(&self) -> rusqlite::Result<u64> {
        let rows: i64 = self.db.query_row("SELECT count(*) FROM issuances", [], |row| row.get(0))?;
        Ok(rows.unsigned_abs())
    }

    fn group(&mut self) -> rusqlite::Result<()> {
        let now = avouch_time::timestamp::unix_millis(self.clock.now());
        let transaction = self.db.transaction()?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO issuances VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL)")?;
            for number in 0..GROUP {
                let (serial, id) =
                    (self.serials.next(now), format!("spiffe://bench.example/workload/{number}"));
                insert.execute(params![serial, 7, id, [7_u8; 32], now, now, now, "renew"])?;
            }
        }
        transaction.commit()
    }
}

/// The issuer's store with registered workloads.
struct Inventory {
    store: Arc<SqliteStore>,
    serials: Arc<Serials>,
    clock: SharedClock,
    entries: Vec<Entry>,
}

impl Inventory {
    async fn open(options: &Options) -> Result<Self, Error> {
        let store = SqliteStore::open(&options.dir.join("store.db")).map_err(|error| refused(&error))?;
        let (store, clock) = (Arc::new(store), clock::system());
        let mut adding = tokio::task::JoinSet::new();
        for number in 0..options.workloads {
            let (store, created_at) = (store.clone(), clock.now());
            let spiffe_id = id(&format!("/workload/{number}"));
            let new = NewEntry {
                spiffe_id,
                svid_ttl: None,
                recovery_window: None,
                dns_names: vec![],
                created_at,
                revokes_forks: false,
                recovery_limit: None,
            };
            adding.spawn(async move { store.create_entry(new, By::new("issuer", created_at)).await });
        }
        let added = adding.join_all().await.into_iter().collect::<Result<Option<Vec<_>>, _>>();
        let entries = added.map_err(|error| refused(&error))?;
        let entries = entries.ok_or_else(|| Error::other("a workload is registered already"))?;
        Ok(Self { store, serials: Arc::default(), clock, entries })
    }

    async fn rows(&self) -> Result<u64, Error> {
        let counts = self.store.counts(self.clock.now()).await;
        counts.map(|counts| counts.certificates).map_err(|error| refused(&error))
    }

    /// A writer for some of the workloads, each of which it renews in its turn.
    fn writer(&self, number: usize, of: usize) -> Writer {
        let most = 256;
        let own = self.entries.iter().skip(number % most).step_by(most.min(of.max(1))).cloned();
        Writer {
            store: self.store.clone(),
            serials: self.serials.clone(),
            clock: self.clock.clone(),
            workloads: own.map(|entry| (entry, None)).collect(),
            next: 0,
        }
    }
}

/// Renews its workloads one after the other.
struct Writer {
    store: Arc<SqliteStore>,
    serials: Arc<Serials>,
    clock: SharedClock,
    /// The registrations, and the serial numbers of their last certificates.
    workloads: Vec<(Entry, Option<String>)>,
    next: usize,
}

impl load::Caller for Writer {
    async fn call(&mut self) -> Result<(), String> {
        let at = self.next % self.workloads.len().max(1);
        self.next += 1;
        let (entry, last) = self.workloads.get_mut(at).ok_or("no workloads")?;
        let now = self.clock.now();
        let serial = self.serials.next(avouch_time::timestamp::unix_millis(now));
        let certificate = CertificateRecord {
            serial: serial.clone(),
            entry: Some(entry.id),
            spiffe_id: entry.entry.spiffe_id.clone(),
            key: KeyHash([7; 32]),
            not_before: now,
            not_after: now + Duration::from_secs(3_600),
            issued_at: now,
            origin: Origin::Renew,
            last_seen: None,
            parent: None,
            requested_from: String::new(),
        };
        let presented = last.replace(serial);
        match self.store.commit(Commit { certificate, token: None, presented }).await {
            Ok(CommitOutcome::Done) => Ok(()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(with_causes(&error).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_row_that_was_answered_is_in_the_store() {
        let temp = tempfile::tempdir().unwrap();
        let options = Options { dir: temp.path().to_owned(), workloads: 3 };
        let inventory = Inventory::open(&options).await.unwrap();
        let mut writers: Vec<_> = (0..3).map(|number| inventory.writer(number, 3)).collect();
        let done = closed_loops(&mut writers, load::Work { callers: 3, milliseconds: 50 }).await.unwrap();
        let recorded = inventory.rows().await.unwrap();
        Done { recorded, ..done }.check("the store").unwrap();
    }

    #[test]
    fn rows_of_whole_transactions_are_counted() {
        let temp = tempfile::tempdir().unwrap();
        let mut bare = Bare::open(&temp.path().join("bare.db")).unwrap();
        let done = bare.measure(Duration::from_millis(20)).unwrap();
        assert_eq!(done.calls % GROUP, 0);
        done.check("SQLite").unwrap();
    }
}
