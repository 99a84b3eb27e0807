//! What every store must do, run against SQLite and against the fake; then what only a file can show.

use super::memory::MemoryStore;
use super::sqlite::{OpenError, SqliteStore};
use super::*;
use std::sync::Arc;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn id(path: &str) -> SpiffeId {
    format!("spiffe://market.example{path}").parse().unwrap()
}

fn new_entry(path: &str) -> NewEntry {
    NewEntry {
        spiffe_id: id(path),
        svid_ttl: Some(Duration::from_secs(20)),
        recovery_window: None,
        dns_names: vec!["localhost".to_owned(), "a.example".to_owned()],
        created_at: at(0),
    }
}

fn key(n: u8) -> KeyHash {
    KeyHash([n; 32])
}

fn issuance(serial: &str, entry: &Entry, key: KeyHash) -> Issuance {
    Issuance {
        serial: serial.to_owned(),
        entry: Some(entry.id),
        spiffe_id: entry.entry.spiffe_id.clone(),
        key,
        not_before: at(1),
        not_after: at(21),
        issued_at: at(5),
        origin: Origin::Enroll,
        last_seen: None,
    }
}

fn commit(issuance: Issuance) -> Commit {
    Commit { issuance, token: None, presented: None }
}

async fn with_token(store: &dyn Store, path: &str) -> (Entry, TokenHash) {
    let entry = store.create_entry(new_entry(path)).await.unwrap().unwrap();
    let hash = TokenHash([9; 32]);
    let token = NewToken { hash, entry: entry.id, created_at: at(0), expires_at: at(600) };
    assert!(store.create_token(token).await.unwrap());
    (entry, hash)
}

/// Runs each function once per store.
macro_rules! for_every_store {
    ($($name:ident),* $(,)?) => {
        mod sqlite_store { $(#[tokio::test] async fn $name() {
            let temp = tempfile::tempdir().unwrap();
            super::$name(&super::SqliteStore::open(&temp.path().join("store.db")).unwrap()).await;
        })* }
        mod memory_store { $(#[tokio::test] async fn $name() {
            super::$name(&super::MemoryStore::default()).await;
        })* }
    };
}

for_every_store!(
    an_entry_comes_back_as_it_went_in,
    an_identity_is_registered_once,
    a_recreated_entry_is_another_one,
    a_token_needs_its_entry,
    a_token_is_consumed_with_the_certificate_and_only_by_its_key,
    an_expired_token_is_refused_at_the_commit_too,
    a_token_of_another_entry_is_refused,
    deleting_an_entry_takes_its_tokens_and_stops_commits,
    a_refused_commit_records_nothing,
    a_presented_certificate_must_be_on_record_for_the_same_registration,
    the_inventory_is_filtered_and_newest_first,
    last_seen_never_goes_back,
    acknowledgements_are_kept_per_replica_and_bounded,
    the_bundle_sequence_moves_with_its_content_only,
    pruning_forgets_what_is_over_and_nothing_else,
    what_may_be_lost_lies_between_the_last_certificate_on_record_and_a_start,
    it_counts_entries_and_live_certificates,
);

async fn it_counts_entries_and_live_certificates(store: &dyn Store) {
    assert_eq!(store.counts(at(5)).await.unwrap(), Counts::default());
    let entry = store.create_entry(new_entry("/a")).await.unwrap().unwrap();
    store.commit(commit(issuance("01", &entry, key(1)))).await.unwrap();
    store.probe(at(5)).await.unwrap();
    assert_eq!(store.counts(at(21)).await.unwrap(), Counts { entries: 1, certificates: 1 });
    assert_eq!(store.counts(at(22)).await.unwrap(), Counts { entries: 1, certificates: 0 });
}

async fn an_entry_comes_back_as_it_went_in(store: &dyn Store) {
    let made = store.create_entry(new_entry("/b")).await.unwrap().unwrap();
    store.create_entry(NewEntry { svid_ttl: None, dns_names: vec![], ..new_entry("/a") }).await.unwrap();
    assert_eq!(made.entry, new_entry("/b"));
    assert_eq!(store.entry_by_id(made.id).await.unwrap().as_ref(), Some(&made));
    assert_eq!(store.entry_by_id(EntryId(999)).await.unwrap(), None);
    assert_eq!(store.entry(&id("/b")).await.unwrap(), Some(made));
    assert_eq!(store.entry(&id("/c")).await.unwrap(), None);
    let paths: Vec<_> = store.entries().await.unwrap().into_iter().map(|e| e.entry.spiffe_id).collect();
    assert_eq!(paths, [id("/a"), id("/b")]);
}

async fn an_identity_is_registered_once(store: &dyn Store) {
    assert!(store.create_entry(new_entry("/a")).await.unwrap().is_some());
    assert!(store.create_entry(new_entry("/a")).await.unwrap().is_none());
    assert_eq!(store.entries().await.unwrap().len(), 1);
}

async fn a_recreated_entry_is_another_one(store: &dyn Store) {
    let first = store.create_entry(new_entry("/a")).await.unwrap().unwrap();
    assert!(store.delete_entry(&id("/a")).await.unwrap());
    assert!(!store.delete_entry(&id("/a")).await.unwrap());
    let second = store.create_entry(new_entry("/a")).await.unwrap().unwrap();
    assert_ne!(first.id, second.id);
}

async fn a_token_needs_its_entry(store: &dyn Store) {
    let token =
        NewToken { hash: TokenHash([1; 32]), entry: EntryId(77), created_at: at(0), expires_at: at(600) };
    assert!(!store.create_token(token).await.unwrap());
    assert_eq!(store.token(&TokenHash([1; 32]), &key(1), at(1)).await.unwrap(), TokenState::Unknown);
}

async fn a_token_is_consumed_with_the_certificate_and_only_by_its_key(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    assert_eq!(store.token(&token, &key(1), at(1)).await.unwrap(), TokenState::Usable(entry.id));
    assert_eq!(store.token(&token, &key(2), at(1)).await.unwrap(), TokenState::Usable(entry.id));
    let use_by = |serial: &str, n| Commit { token: Some(token), ..commit(issuance(serial, &entry, key(n))) };
    assert_eq!(store.commit(use_by("01", 1)).await.unwrap(), CommitOutcome::Done);
    let refused = CommitOutcome::TokenRefused(TokenState::UsedByAnotherKey(entry.id));
    assert_eq!(store.commit(use_by("02", 2)).await.unwrap(), refused);
    assert_eq!(store.commit(use_by("03", 1)).await.unwrap(), CommitOutcome::Done);
    assert_eq!(store.token(&token, &key(2), at(1)).await.unwrap(), TokenState::UsedByAnotherKey(entry.id));
    assert_eq!(store.token(&token, &key(1), at(1)).await.unwrap(), TokenState::Usable(entry.id));
    assert_eq!(store.token(&token, &key(1), at(600)).await.unwrap(), TokenState::Expired);
}

async fn an_expired_token_is_refused_at_the_commit_too(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    let late = Issuance { issued_at: at(600), ..issuance("01", &entry, key(1)) };
    let outcome = store.commit(Commit { token: Some(token), ..commit(late) }).await.unwrap();
    assert_eq!(outcome, CommitOutcome::TokenRefused(TokenState::Expired));
}

async fn a_token_of_another_entry_is_refused(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    let other = store.create_entry(new_entry("/b")).await.unwrap().unwrap();
    let outcome =
        store.commit(Commit { token: Some(token), ..commit(issuance("01", &other, key(1))) }).await.unwrap();
    assert_eq!(outcome, CommitOutcome::TokenRefused(TokenState::Usable(entry.id)));
}

async fn deleting_an_entry_takes_its_tokens_and_stops_commits(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    store.delete_entry(&id("/a")).await.unwrap();
    assert_eq!(store.token(&token, &key(1), at(1)).await.unwrap(), TokenState::Unknown);
    let outcome = store.commit(commit(issuance("01", &entry, key(1)))).await.unwrap();
    assert_eq!(outcome, CommitOutcome::EntryGone);
}

async fn a_refused_commit_records_nothing(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    let unknown = Commit {
        token: Some(token),
        presented: Some("ff".to_owned()),
        issuance: issuance("01", &entry, key(1)),
    };
    assert_eq!(store.commit(unknown).await.unwrap(), CommitOutcome::PresentedUnknown);
    assert_eq!(store.issuance("01").await.unwrap(), None);
    assert_eq!(store.token(&token, &key(2), at(1)).await.unwrap(), TokenState::Usable(entry.id));
}

async fn a_presented_certificate_must_be_on_record_for_the_same_registration(store: &dyn Store) {
    let first = store.create_entry(new_entry("/a")).await.unwrap().unwrap();
    store.commit(commit(issuance("01", &first, key(1)))).await.unwrap();
    let renewal = |serial: &str, entry: &Entry| Commit {
        presented: Some("01".to_owned()),
        ..commit(Issuance { origin: Origin::Renew, ..issuance(serial, entry, key(2)) })
    };
    assert_eq!(store.commit(renewal("02", &first)).await.unwrap(), CommitOutcome::Done);
    assert_eq!(store.issuance("01").await.unwrap().unwrap().last_seen, Some(at(5)));
    store.delete_entry(&id("/a")).await.unwrap();
    let second = store.create_entry(new_entry("/a")).await.unwrap().unwrap();
    assert_eq!(store.commit(renewal("03", &second)).await.unwrap(), CommitOutcome::PresentedUnknown);
}

async fn the_inventory_is_filtered_and_newest_first(store: &dyn Store) {
    let a = store.create_entry(new_entry("/a")).await.unwrap().unwrap();
    let b = store.create_entry(new_entry("/b")).await.unwrap().unwrap();
    let own = Issuance {
        entry: None,
        spiffe_id: id("/avouch/issuer"),
        origin: Origin::SelfIssued,
        ..issuance("01", &a, key(1))
    };
    store.commit(commit(own.clone())).await.unwrap();
    for (serial, entry, life, issued) in [("02", &a, 30, 6), ("03", &b, 40, 7), ("04", &a, 10, 8)] {
        let row = Issuance { not_after: at(life), issued_at: at(issued), ..issuance(serial, entry, key(2)) };
        store.commit(commit(row)).await.unwrap();
    }
    let serials = async |filter| -> Vec<String> {
        store.issuances(filter).await.unwrap().into_iter().map(|row| row.serial).collect()
    };
    assert_eq!(serials(IssuanceFilter::default()).await, ["04", "03", "02", "01"]);
    assert_eq!(serials(IssuanceFilter { alive_at: Some(at(21)), spiffe_id: None }).await, ["03", "02", "01"]);
    let of_a = IssuanceFilter { alive_at: Some(at(21)), spiffe_id: Some(id("/a")) };
    assert_eq!(serials(of_a).await, ["02"]);
    assert_eq!(store.issuance("01").await.unwrap(), Some(own));
}

async fn last_seen_never_goes_back(store: &dyn Store) {
    let entry = store.create_entry(new_entry("/a")).await.unwrap().unwrap();
    store.commit(commit(issuance("01", &entry, key(1)))).await.unwrap();
    for second in [9, 7] {
        store.seen("01", at(second)).await.unwrap();
    }
    store.seen("unknown", at(9)).await.unwrap();
    assert_eq!(store.issuance("01").await.unwrap().unwrap().last_seen, Some(at(9)));
}

async fn acknowledgements_are_kept_per_replica_and_bounded(store: &dyn Store) {
    let ack = |path: &str, n: u64, sequence| TrustAck {
        spiffe_id: id(path),
        addresses: vec![format!("10.0.0.1:{n}")],
        sequence,
        seen_at: at(n),
    };
    store.acknowledge(ack("/a", 1, 1)).await.unwrap();
    store.acknowledge(ack("/a", 1, 2)).await.unwrap();
    store.acknowledge(ack("/b", 1, 1)).await.unwrap();
    assert_eq!(store.acknowledgements().await.unwrap(), [ack("/a", 1, 2), ack("/b", 1, 1)]);
    for n in 2..=(ACKS_PER_IDENTITY as u64 + 10) {
        store.acknowledge(ack("/a", n, 3)).await.unwrap();
    }
    let all = store.acknowledgements().await.unwrap();
    assert_eq!(all.iter().filter(|ack| ack.spiffe_id == id("/a")).count(), ACKS_PER_IDENTITY);
    assert!(all.contains(&ack("/b", 1, 1)) && !all.contains(&ack("/a", 1, 2)));
}

async fn the_bundle_sequence_moves_with_its_content_only(store: &dyn Store) {
    let mut seen = Vec::new();
    for content in [1, 1, 2, 2, 1] {
        seen.push(store.bundle_sequence([content; 32]).await.unwrap());
    }
    assert_eq!(seen, [1, 1, 2, 2, 3]);
}

async fn pruning_forgets_what_is_over_and_nothing_else(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    store.commit(commit(issuance("01", &entry, key(1)))).await.unwrap();
    let longer = Issuance { not_after: at(1_000), ..issuance("02", &entry, key(1)) };
    store.commit(commit(longer)).await.unwrap();
    assert_eq!(store.prune(at(599), at(21)).await.unwrap(), 0);
    assert_eq!(store.prune(at(600), at(22)).await.unwrap(), 2);
    assert_eq!(store.token(&token, &key(1), at(1)).await.unwrap(), TokenState::Unknown);
    assert!(store.issuance("01").await.unwrap().is_none() && store.issuance("02").await.unwrap().is_some());
}

async fn what_may_be_lost_lies_between_the_last_certificate_on_record_and_a_start(store: &dyn Store) {
    let lost = async |seconds| store.may_have_lost(at(seconds)).await.unwrap();
    store.note_start(at(100)).await.unwrap();
    assert!(!lost(50).await, "nothing was ever issued, so nothing is lost");

    // Issued at 5; what follows is as if the store had stopped there and come back at 60, and once more at 90.
    let (entry, _) = with_token(store, "/a").await;
    let kept = Issuance { not_after: at(1_000), ..issuance("01", &entry, key(1)) };
    store.commit(commit(kept.clone())).await.unwrap();
    store.note_start(at(60)).await.unwrap();
    let later = Issuance { serial: "02".to_owned(), issued_at: at(70), ..kept };
    store.commit(commit(later)).await.unwrap();
    store.note_start(at(90)).await.unwrap();
    for (seconds, expected) in
        [(4, false), (5, true), (60, true), (61, false), (69, false), (80, true), (91, false)]
    {
        assert_eq!(lost(seconds).await, expected, "{seconds}");
    }
    // A clock that went back.
    store.note_start(at(10)).await.unwrap();
    assert!(!lost(65).await);
    // Gaps are remembered over starts, and forgotten with the certificates of their time.
    assert_eq!(store.prune(at(1), at(61)).await.unwrap(), 1);
    assert!(!lost(50).await && lost(80).await);
}

#[tokio::test]
async fn of_many_keys_that_race_for_one_token_exactly_one_wins() {
    let temp = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&temp.path().join("store.db")).unwrap());
    let (entry, token) = with_token(&*store, "/a").await;
    let racers: Vec<_> = (0..32_u8)
        .map(|n| {
            let commit =
                Commit { token: Some(token), ..commit(issuance(&format!("{n:02x}"), &entry, key(n))) };
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(commit).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        won += usize::from(racer.await.unwrap() == CommitOutcome::Done);
    }
    assert_eq!(won, 1);
    assert_eq!(store.issuances(IssuanceFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let (entry, token) = with_token(&store, "/a").await;
    store.commit(Commit { token: Some(token), ..commit(issuance("01", &entry, key(1))) }).await.unwrap();
    store.bundle_sequence([1; 32]).await.unwrap();
    store.bundle_sequence([2; 32]).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.entry(&id("/a")).await.unwrap(), Some(entry.clone()));
    assert_eq!(store.token(&token, &key(2), at(1)).await.unwrap(), TokenState::UsedByAnotherKey(entry.id));
    assert_eq!(store.issuance("01").await.unwrap(), Some(issuance("01", &entry, key(1))));
    assert_eq!(store.bundle_sequence([2; 32]).await.unwrap(), 2);
}

#[tokio::test]
async fn a_full_disk_fails_calls_loses_nothing_and_heals_by_itself() {
    let temp = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&temp.path().join("store.db")).unwrap();
    let entry = store.create_entry(new_entry("/a")).await.unwrap().unwrap();
    store.limit_growth(Some(0)).await;
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for n in 0..400 {
        let serial = format!("{n:04}");
        match store.commit(commit(issuance(&serial, &entry, key(1)))).await {
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
    assert!(store.acknowledgements().await.unwrap().is_empty(), "a probe leaves nothing");
    for serial in &failed {
        assert_eq!(store.issuance(serial).await.unwrap(), None);
        store.commit(commit(issuance(serial, &entry, key(1)))).await.unwrap();
    }
    assert_eq!(store.issuances(IssuanceFilter::default()).await.unwrap().len(), 400);
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
