//! Stores of issuers that have been in use for long: filled through the issuer's library, many rows to a commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_issuer::store::sqlite::SqliteStore;
use avouch_issuer::store::{
    By, CertificateRecord, Commit, CommitOutcome, EntryId, KeyHash, NewEntry, Origin, Store, StoreError,
};
use avouch_spiffe::SpiffeId;
use avouch_testkit::ca::id;
use avouch_time::clock;
use tokio::task::JoinSet;

use crate::bench::Bench;
use crate::error::Error;
use crate::issuer::{Issuer, Start};
use crate::run::progress;

/// Rows that wait for the store at the same time: as many as its queue holds, so that each commit is as large as it gets.
const WAITING: usize = 1_024;

/// The life of a certificate on record. None ends while the benchmarks run.
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// The time over which the certificates on record were issued.
const PAST: Duration = Duration::from_secs(12 * 3_600);

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Registered identities.
    pub entries: usize,
    /// Certificates on record, of all identities in turns.
    pub records: usize,
}

impl Size {
    /// A store with ten records to an entry.
    #[must_use]
    pub const fn of_entries(entries: usize) -> Self {
        Self { entries, records: entries.saturating_mul(10) }
    }
}

/// The identity of an entry of such a store.
#[must_use]
pub fn workload(number: usize) -> SpiffeId {
    id(&format!("/ns/team-{}/workload-{number}", number % 97))
}

/// The data directory of an issuer whose store holds so much. The groups of a run share it: one that is there is used
/// again, with what was issued since.
///
/// # Errors
/// When the issuer does not start, or its store cannot be filled.
pub fn data_directory(bench: &Bench, size: Size) -> Result<PathBuf, Error> {
    let dir = bench.dir.join("stores").join(format!("{}-{}", size.entries, size.records));
    if dir.exists() {
        return Ok(dir);
    }
    progress(&format!("filling a store with {} entries and {} records", size.entries, size.records));
    let parent = bench.dir.join("stores");
    std::fs::create_dir_all(&parent).map_err(Error::system("make a directory"))?;
    // The issuer itself makes what it needs; the rest is rows.
    let start = Start { name: "issuer to be filled", data: &dir, settings: &[], core: None };
    Issuer::start(bench, bench.today()?, &start)?.end()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(Error::system("start a runtime"))?.block_on(fill(&dir.join("store.db"), size))?;
    Ok(dir)
}

/// A copy of a data directory of an issuer that does not run, for one of another build.
///
/// # Errors
/// When it cannot be copied.
pub fn copy(data: &Path, suffix: &str) -> Result<PathBuf, Error> {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    let to = data.with_file_name(format!("{name}{}", suffix.replace(['/', ' '], "-")));
    let action = || format!("copy {} to {}", data.display(), to.display());
    avouch_files::create_private_dir(&to).map_err(|error| {
        Error::other(format!("cannot {}: {}", action(), avouch_text::with_causes(&error)))
    })?;
    for file in std::fs::read_dir(data).map_err(Error::system(action()))? {
        let file = file.map_err(Error::system(action()))?;
        std::fs::copy(file.path(), to.join(file.file_name())).map_err(Error::system(action()))?;
    }
    Ok(to)
}

async fn fill(path: &Path, size: Size) -> Result<(), Error> {
    let store = SqliteStore::open(path);
    let store: Arc<dyn Store> =
        Arc::new(store.map_err(|error| Error::other(avouch_text::with_causes(&error).to_string()))?);
    let now = clock::system().now();
    let mut entries = rows(&store, size.entries, |store, number| async move {
        let entry = store.create_entry(entry(number, now), By::new("issuer", now)).await?;
        Ok(entry.map(|entry| (number, entry.id)))
    })
    .await?;
    entries.sort_unstable_by_key(|(number, _)| *number);
    let mut turns = entries.iter().cycle();
    rows(&store, size.records, |store, number| {
        let entry = turns.next().copied();
        async move {
            let Some((workload, entry)) = entry else { return Ok(None) };
            let certificate = record(number, size.records, (workload, entry), now);
            let commit = Commit { certificate, token: None, presented: None };
            Ok((store.commit(commit).await? == CommitOutcome::Done).then_some(()))
        }
    })
    .await?;
    Ok(())
}

/// Makes `count` rows; what is made of each, in no order.
async fn rows<T, F>(
    store: &Arc<dyn Store>,
    count: usize,
    mut make: impl FnMut(Arc<dyn Store>, usize) -> F,
) -> Result<Vec<T>, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<Option<T>, StoreError>> + Send + 'static,
{
    let (mut made, mut waiting, mut next) = (Vec::with_capacity(count), JoinSet::new(), 0);
    while made.len() < count {
        while waiting.len() < WAITING && next < count {
            waiting.spawn(make(Arc::clone(store), next));
            next += 1;
        }
        let row = waiting.join_next().await.ok_or_else(|| Error::other("rows are missing"))?;
        let row = row.map_err(|error| Error::other(error.to_string()))?;
        let row = row.map_err(|error| Error::other(avouch_text::with_causes(&error).to_string()))?;
        made.push(row.ok_or_else(|| Error::other("the store does not take a row"))?);
    }
    Ok(made)
}

fn entry(number: usize, now: SystemTime) -> NewEntry {
    NewEntry {
        spiffe_id: workload(number),
        svid_ttl: None,
        recovery_window: None,
        dns_names: Vec::new(),
        created_at: now,
        revokes_forks: false,
        recovery_limit: None,
    }
}

/// The record of the certificate `number` of `records`, which were issued one after the other in the [`PAST`].
fn record(
    number: usize,
    records: usize,
    (workload_number, entry): (usize, EntryId),
    now: SystemTime,
) -> CertificateRecord {
    let part = |whole: usize| u32::try_from(whole).unwrap_or(u32::MAX);
    let issued_at = now - PAST + PAST / part(records.max(1)) * part(number);
    let millis = issued_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    CertificateRecord {
        // As the issuer's own: 48 bits of the time, and then what no other certificate has.
        serial: format!("{millis:012x}{number:020x}"),
        entry: Some(entry),
        spiffe_id: workload(workload_number),
        key: KeyHash([7; 32]),
        not_before: issued_at,
        not_after: issued_at + LIFE,
        issued_at,
        origin: Origin::Renew,
        last_seen: None,
        parent: None,
        requested_from: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_issuer::store::Page;

    #[tokio::test]
    async fn a_store_is_filled_with_what_an_issuer_would_have_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        fill(&path, Size { entries: 7, records: 30 }).await.unwrap();
        let store = SqliteStore::open(&path).unwrap();
        let counts = store.counts(clock::system().now()).await.unwrap();
        assert_eq!((counts.entries, counts.certificates), (7, 30));
        let all = store.certificates(Default::default(), Page::all()).await.unwrap();
        for row in &all {
            let millis = u64::from_str_radix(&row.serial[..12], 16).unwrap();
            let issued_at = row.issued_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
            assert_eq!((u128::from(millis), row.serial.len()), (issued_at, 32));
            let entry = store.entry_by_id(row.entry.unwrap()).await.unwrap().unwrap();
            assert_eq!(entry.entry.spiffe_id, row.spiffe_id);
        }
    }
}
