//! The behaviour of the SQLite store that only a file can show: races, restarts, a full disk, who may read it.

use super::super::sqlite::OpenError;
use super::*;
use std::sync::Arc;
use std::time::Instant;

#[tokio::test]
async fn of_many_keys_that_race_for_one_token_exactly_one_wins() {
    let temp = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&temp.path().join("store.db")).unwrap());
    let (entry, token) = with_token(&*store, "/a").await;
    let racers: Vec<_> = (0..32_u8)
        .map(|n| {
            let commit =
                Commit { token: Some(token), ..commit(certificate(&format!("{n:02x}"), &entry, key(n))) };
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(commit).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        won += usize::from(racer.await.unwrap() == CommitOutcome::Done);
    }
    assert_eq!(won, 1);
    assert_eq!(store.certificates(CertificateFilter::default(), Page::all()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let (entry, token) = with_token(&store, "/a").await;
    store.commit(Commit { token: Some(token), ..commit(certificate("01", &entry, key(1))) }).await.unwrap();
    store.bundle_sequence([1; 32]).await.unwrap();
    store.bundle_sequence([2; 32]).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.entry(&id("/a")).await.unwrap(), Some(entry.clone()));
    assert_eq!(store.token(&token, &key(2), at(1)).await.unwrap(), TokenState::UsedByAnotherKey(entry.id));
    assert_eq!(store.certificate("01").await.unwrap(), Some(certificate("01", &entry, key(1))));
    assert_eq!(store.bundle_sequence([2; 32]).await.unwrap(), 2);
}

#[tokio::test]
async fn a_full_disk_fails_calls_loses_nothing_and_heals_by_itself() {
    let temp = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&temp.path().join("store.db")).unwrap();
    let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    store.limit_growth(Some(0)).await;
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for n in 0..400 {
        let serial = format!("{n:04}");
        match store.commit(commit(certificate(&serial, &entry, key(1)))).await {
            Ok(outcome) => {
                assert_eq!(outcome, CommitOutcome::Done);
                done.push(serial);
            }
            Err(StoreError::Database(_)) => failed.push(serial),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!done.is_empty() && !failed.is_empty(), "done {}, failed {}", done.len(), failed.len());
    let probed = avouch_text::with_causes(&store.probe(at(5)).await.unwrap_err()).to_string();
    assert!(probed.contains("full"), "{probed}");
    store.limit_growth(None).await;
    store.probe(at(5)).await.unwrap();
    assert!(store.acknowledgements(Page::all()).await.unwrap().is_empty(), "a probe leaves nothing");
    for serial in &failed {
        assert_eq!(store.certificate(serial).await.unwrap(), None);
        store.commit(commit(certificate(serial, &entry, key(1)))).await.unwrap();
    }
    assert_eq!(store.certificates(CertificateFilter::default(), Page::all()).await.unwrap().len(), 400);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    std::fs::write(&path, b"this is not a database, whatever its name says, and long enough to tell")
        .unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::Schema { .. })));
    let missing = temp.path().join("no/such/dir/store.db");
    assert!(matches!(SqliteStore::open(&missing), Err(OpenError::File(_))));
}

#[tokio::test]
async fn a_store_that_others_could_reach_and_links_in_its_place_are_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    drop(SqliteStore::open(&path).unwrap());
    // The store's threads close the database after the store is gone; the last of them takes away its log.
    let log = temp.path().join("store.db-wal");
    let deadline = Instant::now() + Duration::from_secs(10);
    while log.exists() {
        assert!(Instant::now() < deadline, "the store is not closed");
        std::thread::sleep(Duration::from_millis(1));
    }
    let refused = || match SqliteStore::open(&path) {
        Err(OpenError::File(error)) => avouch_text::with_causes(&error).to_string(),
        other => panic!("{other:?}"),
    };
    let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o640);
    assert!(refused().contains("0640") && refused().contains("chmod 0600"), "{}", refused());
    set(0o600);
    let theirs = temp.path().join("theirs");
    std::fs::write(&theirs, "").unwrap();
    for ending in ["-wal", "-shm", "-journal", ""] {
        let place = temp.path().join(format!("store.db{ending}"));
        let _ = std::fs::remove_file(&place);
        symlink(&theirs, &place).unwrap();
        assert!(refused().contains("symbolic link") && refused().contains(place.to_str().unwrap()));
        std::fs::remove_file(&place).unwrap();
        assert_eq!(std::fs::read(&theirs).unwrap(), b"");
    }
    SqliteStore::open(&path).unwrap();
}

#[tokio::test]
async fn nothing_in_the_files_of_the_store_is_open_to_others() {
    use std::os::unix::fs::MetadataExt;
    let temp = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&temp.path().join("store.db")).unwrap();
    with_token(&store, "/a").await;
    let mut files = 0;
    for file in std::fs::read_dir(temp.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o077, 0, "{:?}", file.path());
        files += 1;
    }
    assert!(files >= 2, "the write-ahead log is there too");
}
