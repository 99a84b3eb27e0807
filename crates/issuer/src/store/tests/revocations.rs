//! Revocations, descent, forks and the audit log of a store.

use super::*;
use std::sync::Arc;

const LIFE: Duration = Duration::from_secs(20);

fn child(serial: &str, parent: &str, entry: &Entry, key_number: u8) -> CertificateRecord {
    CertificateRecord {
        parent: Some(parent.to_owned()),
        origin: Origin::Renew,
        ..certificate(serial, entry, key(key_number))
    }
}

fn renewal(record: CertificateRecord) -> Commit {
    Commit { presented: record.parent.clone(), ..commit(record) }
}

fn asked(subject: Subject) -> Revoke {
    Revoke { subject, by: by(), expires_at: None, longest_life: LIFE, dry_run: false, force: true }
}

fn serial(serial: &str) -> Revoke {
    asked(Subject::Serial(serial.to_owned()))
}

async fn made(store: &dyn Store, revoke: Revoke) -> (RevocationRecord, RevocationPlan) {
    match store.revoke(revoke).await.unwrap() {
        RevokeOutcome::Made(record, plan) => (*record, plan),
        other => panic!("{other:?}"),
    }
}

/// `/a` with certificate 01, its children 02 (key 2) and 03 (key 3), and 04, the child of 03.
async fn forked(store: &dyn Store) -> Entry {
    let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    assert_eq!(store.commit(renewal(child("02", "01", &entry, 2))).await.unwrap(), CommitOutcome::Done);
    assert_eq!(store.commit(renewal(child("03", "01", &entry, 3))).await.unwrap(), CommitOutcome::Forked);
    assert_eq!(store.commit(renewal(child("04", "03", &entry, 4))).await.unwrap(), CommitOutcome::Done);
    entry
}

fn revoked(outcome: CommitOutcome) -> StandingRevocation {
    match outcome {
        CommitOutcome::Revoked(standing) => standing,
        other => panic!("{other:?}"),
    }
}

for_every_store!(
    a_serial_takes_its_descendants_and_the_forked_parent_alone,
    a_revoked_identity_gets_nothing_even_registered_again_until_it_is_undone,
    a_revocation_for_a_time_ends_by_itself,
    a_repeated_request_is_no_fork_and_a_second_key_is_one,
    an_entry_that_says_so_revokes_what_is_forked,
    a_registration_recovers_as_often_as_it_may,
    more_than_half_of_the_identities_want_force,
    a_dry_run_changes_nothing,
    the_same_revocation_again_is_the_first_one,
    pruning_keeps_a_revoked_identity_revoked,
    every_act_is_on_record,
    the_issuer_itself_gets_its_certificate_though_it_is_revoked,
);

async fn a_serial_takes_its_descendants_and_the_forked_parent_alone(store: &dyn Store) {
    let entry = forked(store).await;
    let (record, plan) = made(store, serial("03")).await;
    let serials = |rows: &[CertificateRecord]| rows.iter().map(|it| it.serial.clone()).collect::<Vec<_>>();
    assert_eq!(
        (serials(&plan.certificates), serials(&plan.forked)),
        (vec!["04".into(), "03".into()], vec!["01".into()])
    );
    assert_eq!(record.serials, ["04", "03", "01"]);
    // The thief can go on from nothing; the owner's branch goes on.
    for (next, parent) in [("05", "04"), ("06", "03"), ("07", "01")] {
        let standing = revoked(store.commit(renewal(child(next, parent, &entry, 9))).await.unwrap());
        assert_eq!((standing.id, standing.of_identity), (record.id, false));
        assert_eq!(store.certificate(next).await.unwrap(), None);
    }
    assert_eq!(store.commit(renewal(child("08", "02", &entry, 8))).await.unwrap(), CommitOutcome::Done);
    let hit: Vec<_> =
        store.revoked_certificates(at(6), at(6)).await.unwrap().into_iter().map(|it| it.serial).collect();
    assert_eq!(hit, ["01", "03", "04"]);
    let state = store.trust_revocations(at(6)).await.unwrap();
    assert_eq!((state.in_force.len(), state.generation), (3, record.since));
    assert_eq!(store.forks(at(6), false).await.unwrap(), [], "it is answered");
    // They leave the state when they have ended by every clock.
    assert!(store.trust_revocations(at(21 + 301)).await.unwrap().in_force.is_empty());
    assert!(matches!(store.revoke(serial("ff")).await.unwrap(), RevokeOutcome::NotOnRecord));
}

async fn a_revoked_identity_gets_nothing_even_registered_again_until_it_is_undone(store: &dyn Store) {
    let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    let (record, _) = made(store, asked(Subject::Identity(id("/a")))).await;
    assert!(revoked(store.commit(renewal(child("02", "01", &entry, 2))).await.unwrap()).of_identity);
    store.delete_entry(&id("/a"), by()).await.unwrap();
    let again = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    assert!(revoked(store.commit(commit(certificate("03", &again, key(3)))).await.unwrap()).of_identity);
    assert!(store.standing_revocation(&id("/a"), None, at(9_999_999)).await.unwrap().is_some());
    assert!(store.standing_revocation(&id("/ab"), None, at(5)).await.unwrap().is_none());
    let undone = store.undo_revocation(record.id, by()).await.unwrap().unwrap();
    assert_eq!((undone.undone_at, undone.undone_by.as_str()), (Some(at(0)), "uid 0"));
    assert!(store.undo_revocation(record.id, by()).await.unwrap().is_none());
    assert_eq!(store.commit(commit(certificate("03", &again, key(3)))).await.unwrap(), CommitOutcome::Done);
    let state = store.trust_revocations(at(6)).await.unwrap();
    assert_eq!((state.in_force.len(), state.undone.len()), (0, 1));
}

async fn a_revocation_for_a_time_ends_by_itself(store: &dyn Store) {
    let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    let revoke = Revoke { expires_at: Some(at(5)), ..asked(Subject::Identity(id("/a"))) };
    made(store, revoke).await;
    let early = CertificateRecord { issued_at: at(4), ..certificate("01", &entry, key(1)) };
    revoked(store.commit(commit(early)).await.unwrap());
    assert_eq!(store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap(), CommitOutcome::Done);
    assert!(store.trust_revocations(at(5)).await.unwrap().in_force.is_empty());
    let in_force = RevocationFilter { in_force_at: Some(at(5)), about: String::new() };
    assert!(store.revocations(in_force, Page::all()).await.unwrap().is_empty());
    assert_eq!(store.revocations(RevocationFilter::default(), Page::all()).await.unwrap().len(), 1);
}

async fn a_repeated_request_is_no_fork_and_a_second_key_is_one(store: &dyn Store) {
    let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    for repeated in ["02", "03"] {
        let outcome = store.commit(renewal(child(repeated, "01", &entry, 2))).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Done);
    }
    assert_eq!(store.counts(at(6)).await.unwrap().open_forks, 0);
    let second = CertificateRecord { requested_from: "203.0.113.9:1".into(), ..child("04", "01", &entry, 4) };
    assert_eq!(store.commit(renewal(second)).await.unwrap(), CommitOutcome::Forked);
    let forks = store.forks(at(6), false).await.unwrap();
    assert_eq!((forks.len(), forks[0].serial.as_str(), forks[0].children.len()), (1, "01", 3));
    assert_eq!(forks[0].children[2].requested_from, "203.0.113.9:1");
    assert_eq!(store.counts(at(6)).await.unwrap().open_forks, 1);
    assert_eq!(store.counts(at(60)).await.unwrap().open_forks, 0, "its certificates have ended");
}

async fn an_entry_that_says_so_revokes_what_is_forked(store: &dyn Store) {
    let strict = NewEntry { revokes_forks: true, ..new_entry("/a") };
    let entry = store.create_entry(strict, by()).await.unwrap().unwrap();
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    store.commit(renewal(child("02", "01", &entry, 2))).await.unwrap();
    let outcome = store.commit(renewal(child("03", "01", &entry, 3))).await.unwrap();
    let CommitOutcome::ForkRevoked { id: revocation } = outcome else { panic!("{outcome:?}") };
    assert_eq!(store.certificate("03").await.unwrap(), None);
    assert_eq!(revoked(store.commit(renewal(child("04", "02", &entry, 4))).await.unwrap()).id, revocation);
    let record = &store.revocations(RevocationFilter::default(), Page::all()).await.unwrap()[0];
    assert_eq!((record.by.actor.as_str(), record.serials.len()), ("issuer", 2));
}

async fn a_registration_recovers_as_often_as_it_may(store: &dyn Store) {
    let limited = NewEntry { recovery_limit: Some(1), ..new_entry("/a") };
    let entry = store.create_entry(limited, by()).await.unwrap().unwrap();
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    let recovered = |serial: &str, parent: &str, key| {
        renewal(CertificateRecord { origin: Origin::Recover, ..child(serial, parent, &entry, key) })
    };
    // The second one repeats a request whose answer was lost.
    for serial in ["02", "03"] {
        assert_eq!(store.commit(recovered(serial, "01", 2)).await.unwrap(), CommitOutcome::Done);
    }
    let outcome = store.commit(recovered("04", "02", 4)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::RecoveryLimit { limit: 1 });
    assert_eq!(store.commit(renewal(child("05", "02", &entry, 5))).await.unwrap(), CommitOutcome::Done);
}

async fn more_than_half_of_the_identities_want_force(store: &dyn Store) {
    let careful = |path: &str| Revoke { force: false, ..asked(Subject::Identity(id(path))) };
    for (path, serial) in [("/a", "01"), ("/b", "02")] {
        let entry = store.create_entry(new_entry(path), by()).await.unwrap().unwrap();
        store.commit(commit(certificate(serial, &entry, key(1)))).await.unwrap();
        let outcome = store.revoke(careful(path)).await.unwrap();
        let is_half = matches!(outcome, RevokeOutcome::Made(..));
        assert_eq!(is_half, path == "/b", "{outcome:?}");
    }
    // Nobody who holds a certificate is hit.
    assert!(matches!(store.revoke(careful("/c")).await.unwrap(), RevokeOutcome::Made(..)));
}

async fn a_dry_run_changes_nothing(store: &dyn Store) {
    forked(store).await;
    let before = store.trust_revocations(at(6)).await.unwrap();
    let dry = Revoke { dry_run: true, force: false, ..serial("01") };
    let RevokeOutcome::Planned(plan) = store.revoke(dry).await.unwrap() else { panic!("no plan") };
    assert_eq!((plan.certificates.len(), plan.hit_identities, plan.live_identities), (4, 1, 1));
    assert_eq!(store.trust_revocations(at(6)).await.unwrap(), before);
    assert!(store.revocations(RevocationFilter::default(), Page::all()).await.unwrap().is_empty());
}

async fn the_same_revocation_again_is_the_first_one(store: &dyn Store) {
    let entry = forked(store).await;
    let (first, _) = made(store, serial("02")).await;
    let RevokeOutcome::Already(again) = store.revoke(serial("02")).await.unwrap() else { panic!("a second") };
    assert_eq!(*again, first);
    store.undo_revocation(first.id, by()).await.unwrap();
    store.commit(renewal(child("05", "02", &entry, 5))).await.unwrap();
    let (second, _) = made(store, serial("02")).await;
    assert_eq!(second.serials, ["05", "02", "01"]);
    let about = |about: &str| RevocationFilter { in_force_at: None, about: about.to_owned() };
    for (asked, ids) in
        [("serial:05", vec![second.id]), ("serial:02", vec![second.id, first.id]), ("serial:99", vec![])]
    {
        let found = store.revocations(about(asked), Page::all()).await.unwrap();
        assert_eq!(found.iter().map(|it| it.id).collect::<Vec<_>>(), ids, "{asked}");
    }
    assert_eq!(store.revocations(about(id("/a").as_str()), Page::all()).await.unwrap().len(), 2);
}

async fn pruning_keeps_a_revoked_identity_revoked(store: &dyn Store) {
    forked(store).await;
    let (identity, _) = made(store, asked(Subject::Identity(id("/a")))).await;
    made(store, serial("02")).await;
    store.prune(at(99_999), at(99_999)).await.unwrap();
    let left = store.revocations(RevocationFilter::default(), Page::all()).await.unwrap();
    assert_eq!(left.iter().map(|it| it.id).collect::<Vec<_>>(), [identity.id]);
    assert!(store.standing_revocation(&id("/a"), None, at(99_999)).await.unwrap().is_some());
}

async fn every_act_is_on_record(store: &dyn Store) {
    let (entry, _) = with_token(store, "/a").await;
    store.commit(commit(certificate("01", &entry, key(1)))).await.unwrap();
    store.commit(renewal(child("02", "01", &entry, 2))).await.unwrap();
    store.commit(renewal(child("03", "01", &entry, 3))).await.unwrap();
    let by = By { actor: "uid 7".into(), reason: "stolen".into(), at: at(8) };
    let (record, _) = made(store, Revoke { by: by.clone(), ..serial("03") }).await;
    store.undo_revocation(record.id, by.clone()).await.unwrap();
    store.delete_entry(&id("/a"), by.clone()).await.unwrap();
    let acts = store.audit(at(0), Page::all()).await.unwrap();
    let words: Vec<_> = acts.iter().map(|it| it.act.as_str()).collect();
    let expected = [
        "entry.delete",
        "revocation.undo",
        "revocation.create",
        "RENEWAL_FORK",
        "token.create",
        "entry.create",
    ];
    assert_eq!(words, expected);
    assert!(acts[..3].iter().all(|act| act.by.actor == "uid 7" && act.by.reason == "stolen"));
    assert!(acts[0].before.contains("a.example") && acts[0].after.is_empty());
    assert!(acts[5].before.is_empty() && acts[5].after.contains("\"on_fork\":\"alert\""));
    assert_eq!(store.audit(at(8), Page::all()).await.unwrap().len(), 3);
    let page = Page { after: Some(acts[1].id), limit: 2 };
    assert_eq!(store.audit(at(0), page).await.unwrap(), acts[2..4]);
}

async fn the_issuer_itself_gets_its_certificate_though_it_is_revoked(store: &dyn Store) {
    let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
    let issuer = id("/avouch/issuer");
    made(store, asked(Subject::Identity(issuer.clone()))).await;
    let own = CertificateRecord {
        entry: None,
        spiffe_id: issuer,
        origin: Origin::SelfIssued,
        ..certificate("01", &entry, key(1))
    };
    assert_eq!(store.commit(commit(own)).await.unwrap(), CommitOutcome::Done);
}

#[tokio::test]
async fn renewals_that_race_a_revocation_leave_nothing_unrevoked() {
    for round in 0..20_u8 {
        let store = Arc::new(SqliteStore::temporary());
        let entry = store.create_entry(new_entry("/a"), by()).await.unwrap().unwrap();
        store.commit(commit(certificate("0001", &entry, key(1)))).await.unwrap();
        let renewing = tokio::spawn({
            let (store, entry) = (store.clone(), entry.clone());
            async move {
                let mut parent = "0001".to_owned();
                for number in 2..40_u8 {
                    let serial = format!("{number:04}");
                    match store.commit(renewal(child(&serial, &parent, &entry, number))).await.unwrap() {
                        CommitOutcome::Done => parent = serial,
                        CommitOutcome::Revoked(_) => return,
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 200)).await;
        made(&*store, serial("0001")).await;
        renewing.await.unwrap();
        let all = store.certificates(CertificateFilter::default(), Page::all()).await.unwrap();
        assert_eq!(store.revoked_certificates(at(6), at(6)).await.unwrap().len(), all.len());
    }
}
