//! The contract of generations, revocations and acknowledgements.

use super::*;
use avouch_spiffe::RevocationKey;

for_every_store!(
    each_start_begins_a_later_epoch_and_knows_the_last_generation,
    a_revocation_is_in_force_until_it_ends_expires_or_is_undone,
    of_several_revocations_of_one_key_all_have_to_go,
    what_is_returned_keeps_its_generation_and_is_taken_once,
    what_was_undone_is_not_taken_back,
    processes_are_told_apart_by_their_ids,
    a_certificate_knows_what_it_was_got_with,
);

/// The keys in force at this second.
async fn in_force(store: &dyn Store, seconds: u64) -> Vec<u8> {
    let read = store.trust_revocations(at(seconds)).await.unwrap();
    read.in_force.iter().map(|it| it.key.0[0]).collect()
}

async fn undone(store: &dyn Store, seconds: u64) -> Vec<u8> {
    let read = store.trust_revocations(at(seconds)).await.unwrap();
    read.undone.iter().map(|key| key.0[0]).collect()
}

async fn each_start_begins_a_later_epoch_and_knows_the_last_generation(store: &dyn Store) {
    let first = store.begin_epoch(at(0)).await.unwrap();
    assert_eq!(
        (first.known, first.current),
        (Generation::NONE, Generation { epoch: 1_800_000_000, counter: 0 })
    );
    let advanced = store.advance_generation().await.unwrap();
    assert_eq!(advanced, Generation { counter: 1, ..first.current });
    for (seconds, epoch) in [(9, 1_800_000_009), (0, 1_800_000_010)] {
        let known = store.trust_revocations(at(0)).await.unwrap().generation;
        let next = store.begin_epoch(at(seconds)).await.unwrap();
        assert_eq!(
            (next.known, next.current),
            (known, Generation { epoch, counter: 1 }),
            "the clock goes back"
        );
    }
}

async fn a_revocation_is_in_force_until_it_ends_expires_or_is_undone(store: &SqliteStore) {
    store.begin_epoch(at(0)).await.unwrap();
    let one = store.revoke_keys(&[1, 2], at(100), None).await;
    let two = store.revoke_keys(&[3], at(100), Some(at(50))).await;
    assert_eq!((one.since.counter, two.since.counter, two.id > one.id), (1, 2, true));
    let read = store.trust_revocations(at(0)).await.unwrap();
    assert_eq!(read.generation, two.since);
    let rows: Vec<_> = read.in_force.iter().map(|it| (it.key.0[0], it.since, it.ends_at)).collect();
    assert_eq!(rows, [(1, one.since, at(100)), (2, one.since, at(100)), (3, two.since, at(50))]);
    assert_eq!((in_force(store, 50).await, in_force(store, 100).await), (vec![1, 2], vec![]));
    assert_eq!(store.undo_revocation(one.id, by()).await.unwrap().map(|it| it.id), Some(one.id));
    assert_eq!((in_force(store, 0).await, undone(store, 0).await), (vec![3], vec![1, 2]));
    assert!(undone(store, 100).await.is_empty());
    assert_eq!(store.undo_revocation(one.id, by()).await.unwrap(), None, "it is undone already");
    assert_eq!(store.undo_revocation(99, by()).await.unwrap(), None);
    assert_eq!(store.trust_revocations(at(0)).await.unwrap().generation.counter, 3);
}

async fn of_several_revocations_of_one_key_all_have_to_go(store: &SqliteStore) {
    let one = store.revoke_keys(&[1], at(100), None).await;
    let two = store.revoke_keys(&[1], at(200), None).await;
    let read = store.trust_revocations(at(0)).await.unwrap();
    assert_eq!(
        (read.in_force.len(), read.in_force[0].since, read.in_force[0].ends_at),
        (1, two.since, at(200))
    );
    store.undo_revocation(two.id, by()).await.unwrap();
    assert_eq!((in_force(store, 0).await, undone(store, 0).await), (vec![1], vec![]));
    store.undo_revocation(one.id, by()).await.unwrap();
    assert_eq!((in_force(store, 0).await, undone(store, 0).await), (vec![], vec![1]));
}

fn returned(key: u8, counter: u32) -> Revocation {
    let since = Generation { epoch: 7, counter };
    Revocation { key: RevocationKey([key; 16]), since, ends_at: at(100), proof: [0; 16] }
}

async fn what_is_returned_keeps_its_generation_and_is_taken_once(store: &SqliteStore) {
    store.revoke_keys(&[1], at(100), None).await;
    let before = store.trust_revocations(at(0)).await.unwrap().generation;
    let all = vec![returned(1, 5), returned(2, 6), returned(3, 6)];
    assert_eq!(store.return_revocations(&id("/a"), all.clone(), at(0)).await.unwrap(), 2);
    let read = store.trust_revocations(at(0)).await.unwrap();
    assert_eq!(read.generation.counter, before.counter + 1, "one change");
    assert_eq!((read.in_force.len(), read.in_force[1].since), (3, Generation { epoch: 7, counter: 6 }));
    assert_eq!(store.return_revocations(&id("/b"), all, at(0)).await.unwrap(), 0);
    assert_eq!(store.trust_revocations(at(0)).await.unwrap(), read);
}

async fn what_was_undone_is_not_taken_back(store: &SqliteStore) {
    let one = store.revoke_keys(&[1], at(100), None).await;
    store.undo_revocation(one.id, by()).await.unwrap();
    assert_eq!(store.return_revocations(&id("/a"), vec![returned(1, 6)], at(0)).await.unwrap(), 0);
    assert!(in_force(store, 0).await.is_empty());
}

async fn processes_are_told_apart_by_their_ids(store: &dyn Store) {
    let of = |instance: u8, counter| TrustAck {
        instance: Some([instance; 16]),
        generation: Generation { epoch: 7, counter },
        ..ack("/a", Vec::new(), 1, 1)
    };
    let old = ack("/a", Vec::new(), 1, 1);
    for ack in [of(1, 1), of(2, 1), old.clone(), of(1, 2)] {
        store.acknowledge(ack).await.unwrap();
    }
    assert_eq!(store.acknowledgements(Page::all()).await.unwrap(), [of(1, 2), of(2, 1), old]);
}

async fn a_certificate_knows_what_it_was_got_with(store: &dyn Store) {
    let (entry, _) = with_token(store, "/a").await;
    let first = certificate("01", &entry, key(1));
    let second = CertificateRecord { parent: Some("01".to_owned()), ..certificate("02", &entry, key(1)) };
    store.commit(commit(first.clone())).await.unwrap();
    store.commit(Commit { presented: Some("01".to_owned()), ..commit(second.clone()) }).await.unwrap();
    assert_eq!(store.certificate("02").await.unwrap(), Some(second));
    assert_eq!(store.certificate("01").await.unwrap().unwrap().parent, None);
}
