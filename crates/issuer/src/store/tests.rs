//! The contract of every store, as functions over `&dyn Store`.

use super::sqlite::SqliteStore;
use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn id(path: &str) -> SpiffeId {
    format!("spiffe://market.example{path}").parse().unwrap()
}

fn by() -> By {
    By::new("uid 0", at(0))
}

fn new_entry(path: &str) -> NewEntry {
    NewEntry {
        spiffe_id: id(path),
        svid_ttl: Some(Duration::from_secs(20)),
        recovery_window: None,
        dns_names: vec!["localhost".to_owned(), "a.example".to_owned()],
        created_at: at(0),
        revokes_forks: false,
        recovery_limit: None,
    }
}

fn key(n: u8) -> KeyHash {
    KeyHash([n; 32])
}

fn certificate(serial: &str, entry: &Entry, key: KeyHash) -> CertificateRecord {
    CertificateRecord {
        serial: serial.to_owned(),
        entry: Some(entry.id),
        spiffe_id: entry.entry.spiffe_id.clone(),
        key,
        not_before: at(1),
        not_after: at(21),
        issued_at: at(5),
        origin: Origin::Enroll,
        last_seen: None,
        parent: None,
        requested_from: String::new(),
    }
}

fn ack(path: &str, addresses: Vec<String>, sequence: u64, seen_at: u64) -> TrustAck {
    TrustAck {
        spiffe_id: id(path),
        addresses,
        sequence,
        seen_at: at(seen_at),
        instance: None,
        serial: "01".to_owned(),
        generation: Generation::NONE,
    }
}

fn commit(certificate: CertificateRecord) -> Commit {
    Commit { certificate, token: None, presented: None }
}

async fn with_token(store: &dyn Store, path: &str) -> (Entry, TokenHash) {
    let entry = store.create_entry(new_entry(path), by()).await.unwrap().unwrap();
    let hash = TokenHash([9; 32]);
    let token = NewToken { hash, entry: entry.id, created_at: at(0), expires_at: at(600) };
    assert!(store.create_token(token, by()).await.unwrap());
    (entry, hash)
}

/// Runs each function with a store of its own.
macro_rules! for_every_store {
    ($($name:ident),* $(,)?) => {
        mod sqlite_store { $(#[tokio::test] async fn $name() {
            super::$name(&super::SqliteStore::temporary()).await;
        })* }
    };
}

// Behind the macro that they use.
mod file;
mod revocations;
mod trust;

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
    pages_of_a_list_make_the_list,
    what_comes_and_goes_between_two_pages_moves_no_other_row,
    a_page_of_certificates_keeps_to_the_filter,
);

/// Reads a list to its end, `limit` rows at a time.
async fn in_pages<T, K: Clone>(
    limit: usize,
    key: impl Fn(&T) -> K,
    mut page: impl AsyncFnMut(Page<K>) -> Vec<T>,
) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let rows = page(Page { after: all.last().map(&key), limit }).await;
        assert!(rows.len() <= limit);
        let last = rows.len() < limit;
        all.extend(rows);
        if last {
            return all;
        }
    }
}

async fn pages_of_a_list_make_the_list(store: &dyn Store) {
    for n in (0..25).rev() {
        let entry = store.create_entry(new_entry(&format!("/{n:02}")), by()).await.unwrap().unwrap();
        store.commit(commit(certificate(&format!("{n:04x}"), &entry, key(1)))).await.unwrap();
        for replica in ["a:1", "b:1"] {
            let addresses = vec![replica.to_owned(), format!("c:{n}")];
            let ack = ack(&format!("/{n:02}"), addresses, 1, 1);
            store.acknowledge(ack).await.unwrap();
        }
    }
    let entries = store.entries(Page::all()).await.unwrap();
    let certificates = store.certificates(CertificateFilter::default(), Page::all()).await.unwrap();
    let acks = store.acknowledgements(Page::all()).await.unwrap();
    assert_eq!((entries.len(), certificates.len(), acks.len()), (25, 25, 50));
    for limit in [1, 2, 5, 7, 25, 50, 51] {
        let paged = in_pages(
            limit,
            |row: &Entry| row.entry.spiffe_id.clone(),
            async |page| store.entries(page).await.unwrap(),
        );
        assert_eq!(paged.await, entries, "{limit}");
        let paged = in_pages(
            limit,
            |row: &CertificateRecord| row.serial.clone(),
            async |page| store.certificates(CertificateFilter::default(), page).await.unwrap(),
        );
        assert_eq!(paged.await, certificates, "{limit}");
        let paged = in_pages(
            limit,
            |row: &TrustAck| (row.spiffe_id.clone(), row.replica()),
            async |page| store.acknowledgements(page).await.unwrap(),
        );
        assert_eq!(paged.await, acks, "{limit}");
    }
}

async fn what_comes_and_goes_between_two_pages_moves_no_other_row(store: &dyn Store) {
    for path in ["/b", "/d", "/f", "/h"] {
        let entry = store.create_entry(new_entry(path), by()).await.unwrap().unwrap();
        store.commit(commit(certificate(&path.replace('/', "0"), &entry, key(1)))).await.unwrap();
    }
    let first = store.entries(Page { after: None, limit: 2 }).await.unwrap();
    let newest =
        store.certificates(CertificateFilter::default(), Page { after: None, limit: 2 }).await.unwrap();
    assert_eq!(newest.iter().map(|row| &*row.serial).collect::<Vec<_>>(), ["0h", "0f"]);
    // The last row of the page goes, one comes before it and two after it, one of those is at the very end.
    store.delete_entry(&id("/d"), by()).await.unwrap();
    for path in ["/a", "/e", "/z"] {
        let entry = store.create_entry(new_entry(path), by()).await.unwrap().unwrap();
        store.commit(commit(certificate(&path.replace('/', "0"), &entry, key(1)))).await.unwrap();
    }
    let after = first.last().map(|row| row.entry.spiffe_id.clone());
    let rest = store.entries(Page { after, limit: 9 }).await.unwrap();
    let rest: Vec<_> = rest.into_iter().map(|row| row.entry.spiffe_id).collect();
    assert_eq!(rest, [id("/e"), id("/f"), id("/h"), id("/z")]);
    let after = newest.last().map(|row| row.serial.clone());
    let rest = store.certificates(CertificateFilter::default(), Page { after, limit: 9 }).await.unwrap();
    let rest: Vec<_> = rest.iter().map(|row| &*row.serial).collect();
    assert_eq!(rest, ["0e", "0d", "0b", "0a"], "the newer one is on no later page");
}

async fn a_page_of_certificates_keeps_to_the_filter(store: &dyn Store) {
    let a = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    let b = store.create_entry(new_entry("/b"), by()).await.unwrap().unwrap();
    for n in 0..20_u64 {
        let entry = if n % 2 == 0 { &a } else { &b };
        let row = CertificateRecord { not_after: at(n), ..certificate(&format!("{n:02}"), entry, key(1)) };
        store.commit(commit(row)).await.unwrap();
    }
    let filter = CertificateFilter { alive_at: Some(at(5)), spiffe_id: Some(id("/a")) };
    let page = |after: Option<&str>| Page { after: after.map(str::to_owned), limit: 3 };
    let serials = async |page| -> Vec<String> {
        let rows = store.certificates(filter.clone(), page).await.unwrap();
        rows.into_iter().map(|row| row.serial).collect()
    };
    assert_eq!(serials(page(None)).await, ["18", "16", "14"]);
    assert_eq!(serials(page(Some("14"))).await, ["12", "10", "08"]);
    assert_eq!(serials(page(Some("08"))).await, ["06"]);
}

async fn it_counts_entries_and_live_certificates(store: &dyn Store) {
    assert_eq!(store.counts(at(5)).await.unwrap(), Counts::default());
    let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    store.probe(at(5)).await.unwrap();
    assert_eq!(store.counts(at(21)).await.unwrap(), Counts { entries: 1, certificates: 1, open_forks: 0 });
    assert_eq!(store.counts(at(22)).await.unwrap(), Counts { entries: 1, certificates: 0, open_forks: 0 });
}

async fn an_entry_comes_back_as_it_went_in(store: &dyn Store) {
    let made = store.create_entry(new_entry("/b"), by()).await.unwrap().unwrap();
    store
        .create_entry(NewEntry { svid_ttl: None, dns_names: vec![], ..new_entry("/a") }, by())
        .await
        .unwrap();
    assert_eq!(made.entry, new_entry("/b"));
    assert_eq!(store.entry_by_id(made.id).await.unwrap().as_ref(), Some(&made));
    assert_eq!(store.entry_by_id(EntryId(999)).await.unwrap(), None);
    assert_eq!(store.entry(&id("/b")).await.unwrap(), Some(made));
    assert_eq!(store.entry(&id("/c")).await.unwrap(), None);
    let paths: Vec<_> =
        store.entries(Page::all()).await.unwrap().into_iter().map(|e| e.entry.spiffe_id).collect();
    assert_eq!(paths, [id("/a"), id("/b")]);
}

async fn an_identity_is_registered_once(store: &dyn Store) {
    assert!(store.create_entry(new_entry("/a"), by()).await.unwrap().is_some());
    assert!(store.create_entry(new_entry("/a"), by()).await.unwrap().is_none());
    assert_eq!(store.entries(Page::all()).await.unwrap().len(), 1);
}

async fn a_recreated_entry_is_another_one(store: &dyn Store) {
    let first = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    assert!(store.delete_entry(&id("/a"), by()).await.unwrap());
    assert!(!store.delete_entry(&id("/a"), by()).await.unwrap());
    let second = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    assert_ne!(first.id, second.id);
}

async fn a_token_needs_its_entry(store: &dyn Store) {
    let token =
        NewToken { hash: TokenHash([1; 32]), entry: EntryId(77), created_at: at(0), expires_at: at(600) };
    assert!(!store.create_token(token, by()).await.unwrap());
    assert_eq!(store.token(&TokenHash([1; 32]), &key(1), at(1)).await.unwrap(), TokenState::Unknown);
}

async fn a_token_is_consumed_with_the_certificate_and_only_by_its_key(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    assert_eq!(store.token(&token, &key(1), at(1)).await.unwrap(), TokenState::Usable(entry.id));
    assert_eq!(store.token(&token, &key(2), at(1)).await.unwrap(), TokenState::Usable(entry.id));
    let use_by =
        |serial: &str, n| Commit { token: Some(token), ..commit(certificate(serial, &entry, key(n))) };
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
    let late = CertificateRecord { issued_at: at(600), ..certificate("01", &entry, key(1)) };
    let outcome = store.commit(Commit { token: Some(token), ..commit(late) }).await.unwrap();
    assert_eq!(outcome, CommitOutcome::TokenRefused(TokenState::Expired));
}

async fn a_token_of_another_entry_is_refused(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    let other = store.create_entry(new_entry("/b"), by()).await.unwrap().unwrap();
    let outcome = store
        .commit(Commit { token: Some(token), ..commit(certificate("01", &other, key(1))) })
        .await
        .unwrap();
    assert_eq!(outcome, CommitOutcome::TokenRefused(TokenState::Usable(entry.id)));
}

async fn deleting_an_entry_takes_its_tokens_and_stops_commits(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    store.delete_entry(&id("/a"), by()).await.unwrap();
    assert_eq!(store.token(&token, &key(1), at(1)).await.unwrap(), TokenState::Unknown);
    let outcome = store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    assert_eq!(outcome, CommitOutcome::EntryGone);
}

async fn a_refused_commit_records_nothing(store: &dyn Store) {
    let (entry, token) = with_token(store, "/a").await;
    let unknown = Commit {
        token: Some(token),
        presented: Some("ff".to_owned()),
        certificate: certificate("01", &entry, key(1)),
    };
    assert_eq!(store.commit(unknown).await.unwrap(), CommitOutcome::PresentedUnknown);
    assert_eq!(store.certificate("01").await.unwrap(), None);
    assert_eq!(store.token(&token, &key(2), at(1)).await.unwrap(), TokenState::Usable(entry.id));
}

async fn a_presented_certificate_must_be_on_record_for_the_same_registration(store: &dyn Store) {
    let first = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    store.commit(commit(certificate("01", &first, key(1)))).await.unwrap();
    let renewal = |serial: &str, entry: &Entry| Commit {
        presented: Some("01".to_owned()),
        ..commit(CertificateRecord { origin: Origin::Renew, ..certificate(serial, entry, key(2)) })
    };
    assert_eq!(store.commit(renewal("02", &first)).await.unwrap(), CommitOutcome::Done);
    assert_eq!(store.certificate("01").await.unwrap().unwrap().last_seen, Some(at(5)));
    store.delete_entry(&id("/a"), by()).await.unwrap();
    let second = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    assert_eq!(store.commit(renewal("03", &second)).await.unwrap(), CommitOutcome::PresentedUnknown);
}

async fn the_inventory_is_filtered_and_newest_first(store: &dyn Store) {
    let a = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    let b = store.create_entry(new_entry("/b"), by()).await.unwrap().unwrap();
    let own = CertificateRecord {
        entry: None,
        spiffe_id: id("/avouch/issuer"),
        origin: Origin::SelfIssued,
        ..certificate("01", &a, key(1))
    };
    store.commit(commit(own.clone())).await.unwrap();
    for (serial, entry, life, issued) in [("02", &a, 30, 6), ("03", &b, 40, 7), ("04", &a, 10, 8)] {
        let row = CertificateRecord {
            not_after: at(life),
            issued_at: at(issued),
            ..certificate(serial, entry, key(2))
        };
        store.commit(commit(row)).await.unwrap();
    }
    let serials = async |filter| -> Vec<String> {
        store.certificates(filter, Page::all()).await.unwrap().into_iter().map(|row| row.serial).collect()
    };
    assert_eq!(serials(CertificateFilter::default()).await, ["04", "03", "02", "01"]);
    assert_eq!(
        serials(CertificateFilter { alive_at: Some(at(21)), spiffe_id: None }).await,
        ["03", "02", "01"]
    );
    let of_a = CertificateFilter { alive_at: Some(at(21)), spiffe_id: Some(id("/a")) };
    assert_eq!(serials(of_a).await, ["02"]);
    assert_eq!(store.certificate("01").await.unwrap(), Some(own));
}

async fn last_seen_never_goes_back(store: &dyn Store) {
    let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    for second in [9, 7] {
        store.seen("01", at(second)).await.unwrap();
    }
    store.seen("unknown", at(9)).await.unwrap();
    assert_eq!(store.certificate("01").await.unwrap().unwrap().last_seen, Some(at(9)));
}

async fn acknowledgements_are_kept_per_replica_and_bounded(store: &dyn Store) {
    let ack = |path: &str, n: u64, sequence| ack(path, vec![format!("10.0.0.1:{n}")], sequence, n);
    store.acknowledge(ack("/a", 1, 1)).await.unwrap();
    store.acknowledge(ack("/a", 1, 2)).await.unwrap();
    store.acknowledge(ack("/b", 1, 1)).await.unwrap();
    assert_eq!(store.acknowledgements(Page::all()).await.unwrap(), [ack("/a", 1, 2), ack("/b", 1, 1)]);
    for n in 2..=(ACKS_PER_IDENTITY as u64 + 10) {
        store.acknowledge(ack("/a", n, 3)).await.unwrap();
    }
    let all = store.acknowledgements(Page::all()).await.unwrap();
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
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    let longer = CertificateRecord { not_after: at(1_000), ..certificate("02", &entry, key(1)) };
    store.commit(commit(longer)).await.unwrap();
    assert_eq!(store.prune(at(599), at(21)).await.unwrap(), 0);
    assert_eq!(store.prune(at(600), at(22)).await.unwrap(), 2);
    assert_eq!(store.token(&token, &key(1), at(1)).await.unwrap(), TokenState::Unknown);
    assert!(
        store.certificate("01").await.unwrap().is_none() && store.certificate("02").await.unwrap().is_some()
    );
}

async fn what_may_be_lost_lies_between_the_last_certificate_on_record_and_a_start(store: &dyn Store) {
    let lost = async |seconds| store.in_recovery_gap(at(seconds)).await.unwrap();
    store.record_startup(at(100)).await.unwrap();
    assert!(!lost(50).await, "nothing was ever issued, so nothing is lost");

    // Issued at 5; what follows is as if the store had stopped there and come back at 60, and once more at 90.
    let (entry, _) = with_token(store, "/a").await;
    let kept = CertificateRecord { not_after: at(1_000), ..certificate("01", &entry, key(1)) };
    store.commit(commit(kept.clone())).await.unwrap();
    store.record_startup(at(60)).await.unwrap();
    let later = CertificateRecord { serial: "02".to_owned(), issued_at: at(70), ..kept };
    store.commit(commit(later)).await.unwrap();
    store.record_startup(at(90)).await.unwrap();
    for (seconds, expected) in
        [(4, false), (5, true), (60, true), (61, false), (69, false), (80, true), (91, false)]
    {
        assert_eq!(lost(seconds).await, expected, "{seconds}");
    }
    // A clock that went back.
    store.record_startup(at(10)).await.unwrap();
    assert!(!lost(65).await);
    // Gaps are remembered over starts, and forgotten with the certificates of their time.
    assert_eq!(store.prune(at(1), at(61)).await.unwrap(), 1);
    assert!(!lost(50).await && lost(80).await);
}
