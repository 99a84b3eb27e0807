//! The trust states of an issuer: what is taken, acknowledged, kept and given back.

use std::time::Duration;

use avouch_api::issuer::v1 as api;
use avouch_identity::spiffe::{Generation, Revocation};
use avouch_testkit::wait::until;

use super::issuer::{State, World, at, in_use, refuses, revoked};
use crate::support::now;

fn first() -> State {
    State { generation: at(7, 1), known: Generation::NONE, revocations: vec![revoked("/mallory", at(7, 1))] }
}

fn second() -> State {
    let revocations = [first().revocations, vec![revoked("/eve", at(7, 2))]].concat();
    State { generation: at(7, 2), revocations, ..first() }
}

/// A workload that uses the first state.
async fn holding_the_first(world: &World) -> avouch_identity::Identity {
    world.goes_with_svids(&first().whole(&world.ca));
    let identity = world.workload().await.expect("an identity");
    assert_eq!(in_use(&identity), (at(7, 1), 1), "it came with the SVID");
    world.acknowledged(at(7, 1)).await;
    identity
}

#[tokio::test]
async fn the_state_is_whole_at_first_then_changes_and_each_generation_is_acknowledged() {
    let world = World::new().await;
    let identity = world.workload().await.expect("an identity");
    world.acknowledged(Generation::NONE).await;
    world.send(&first().whole(&world.ca)).await;
    world.acknowledged(at(7, 1)).await;
    assert!(refuses(&identity, &world.ca, "/mallory") && !refuses(&identity, &world.ca, "/eve"));
    world.send(&second().delta(&first())).await;
    world.acknowledged(at(7, 2)).await;
    assert!(refuses(&identity, &world.ca, "/mallory") && refuses(&identity, &world.ca, "/eve"));
    // Undone.
    let third = State { generation: at(7, 3), revocations: vec![revoked("/eve", at(7, 2))], ..second() };
    world.send(&third.delta(&second())).await;
    world.acknowledged(at(7, 3)).await;
    assert!(!refuses(&identity, &world.ca, "/mallory") && refuses(&identity, &world.ca, "/eve"));
    let instances: std::collections::BTreeSet<_> = world.heard().into_iter().map(|it| it.instance).collect();
    assert!(instances.len() == 1 && instances.iter().all(|it| it.len() == 16), "{instances:?}");
}

#[tokio::test]
async fn two_processes_of_one_identity_are_told_apart() {
    let world = World::new().await;
    let _one = world.workload_of("one").await.expect("an identity");
    let _two = world.workload_of("two").await.expect("another one");
    until("both have said something", || {
        let heard = world.heard();
        heard.iter().map(|it| &it.instance).collect::<std::collections::BTreeSet<_>>().len() == 2
    })
    .await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_change_is_refused_and_the_whole_state_asked_for() {
    let good = second().delta(&first());
    let wrong = [
        ("digest", api::TrustUpdate { digest: vec![0; 32], ..good.clone() }),
        ("48", api::TrustUpdate { revoked: good.revoked[..47].to_vec(), ..good.clone() }),
        (
            "changes generation 7.0",
            api::TrustUpdate {
                base: State { generation: at(7, 0), ..first() }.whole(&crate::support::Ca::new()).generation,
                ..good.clone()
            },
        ),
        (
            "would have no bundle",
            api::TrustUpdate { bundles_gone: vec!["market.example".to_owned()], ..good },
        ),
    ];
    for (words, update) in wrong {
        let world = World::new().await;
        let identity = holding_the_first(&world).await;
        world.send(&update).await;
        world.acknowledged(Generation::NONE).await;
        world.told(words).await;
        assert_eq!(in_use(&identity), (at(7, 1), 1), "{words}: nothing of it is in use");
        world.send(&second().whole(&world.ca)).await;
        world.acknowledged(at(7, 2)).await;
        assert_eq!(in_use(&identity), (at(7, 2), 2), "{words}");
    }
}

#[tokio::test]
async fn a_state_that_is_older_is_refused_and_the_same_one_changes_nothing() {
    let world = World::new().await;
    let identity = holding_the_first(&world).await;
    let generation = identity.snapshot().generation;
    let earlier = State { generation: at(6, 99), revocations: Vec::new(), ..first() };
    world.send(&earlier.whole(&world.ca)).await;
    world.told("7.1, which is in use").await;
    world.send(&State { revocations: Vec::new(), ..first() }.whole(&world.ca)).await;
    world.send(&second().whole(&world.ca)).await;
    world.acknowledged(at(7, 2)).await;
    assert_eq!(in_use(&identity), (at(7, 2), 2));
    assert_eq!(identity.snapshot().generation, generation + 1, "neither was published");
    let none = |it: &api::WatchTrustRequest| it.acknowledged == Some(api::Generation::default());
    assert!(!world.heard().iter().any(none), "a whole state would be as old");
}

#[tokio::test]
async fn a_restored_issuer_gets_back_what_it_has_lost_and_its_holder_stays_out_meanwhile() {
    let world = World::new().await;
    let identity = holding_the_first(&world).await;
    world.send(&second().delta(&first())).await;
    world.acknowledged(at(7, 2)).await;
    let restored = State { generation: at(8, 1), known: at(7, 1), ..first() };
    world.send(&restored.whole(&world.ca)).await;
    until("the lost one is returned", || world.heard().iter().any(|it| !it.returned.is_empty())).await;
    let returned: Vec<_> =
        world.heard().into_iter().map(|it| it.returned).filter(|it| !it.is_empty()).collect();
    let lost: [u8; 48] = returned[0].as_slice().try_into().expect("one of them");
    let lost = Revocation::decode(&lost).expect("a revocation");
    assert_eq!((lost.since, lost.proof, returned.len()), (at(7, 2), [9; 16], 1));
    assert!(refuses(&identity, &world.ca, "/eve") && refuses(&identity, &world.ca, "/mallory"));
    // The issuer has taken it back.
    let again = State { generation: at(8, 2), ..State { known: at(7, 1), ..second() } };
    world.send(&again.delta(&restored)).await;
    world.acknowledged(at(8, 2)).await;
    assert_eq!(in_use(&identity), (at(8, 2), 2));
}

#[tokio::test]
async fn a_process_that_restarts_without_its_issuer_keeps_refusing_whoever_is_revoked() {
    let mut world = World::new().await;
    let identity = holding_the_first(&world).await;
    world.send(&second().delta(&first())).await;
    // Killed right after the acknowledgement.
    world.acknowledged(at(7, 2)).await;
    drop(identity);
    world.stop_issuer().await;
    world.released().await;
    let identity = world.workload().await.expect("an identity from disk");
    assert_eq!(in_use(&identity), (at(7, 2), 2), "in the first snapshot, before anything listens");
    assert!(refuses(&identity, &world.ca, "/eve") && refuses(&identity, &world.ca, "/mallory"));
}

/// What happens to a file.
type Damage = fn(&mut Vec<u8>);

#[tokio::test]
async fn a_damaged_trust_state_keeps_the_svid_out_of_use_until_the_issuer_has_sent_the_whole_one() {
    let damages: [(&str, Damage); 3] = [
        ("cut", |file| file.truncate(file.len() - 1)),
        ("empty", Vec::clear),
        ("changed", |file| {
            let middle = file.len() / 2;
            file[middle] ^= 1;
        }),
    ];
    for (how, damage) in damages {
        let world = World::new().await;
        drop(holding_the_first(&world).await);
        world.released().await;
        let path = world.state_file("trust-state.bin");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("a file").permissions());
        assert_eq!(mode & 0o7777, 0o600);
        let mut file = std::fs::read(&path).expect("a file");
        damage(&mut file);
        std::fs::write(&path, file).expect("written");
        let identity = world.workload().await.expect(how);
        assert_eq!(world.held(), [("enroll", Generation::NONE), ("recover", Generation::NONE)], "{how}");
        assert!(refuses(&identity, &world.ca, "/mallory"), "{how}");
    }
}

#[tokio::test]
async fn a_damaged_trust_state_without_an_issuer_ends_in_no_identity() {
    let mut world = World::new().await;
    drop(holding_the_first(&world).await);
    world.stop_issuer().await;
    world.released().await;
    std::fs::write(world.state_file("trust-state.bin"), "damaged").expect("written");
    let waiting = tokio::time::timeout(Duration::from_millis(1500), world.workload()).await;
    assert!(waiting.is_err(), "the stored SVID is in use without its revocations: {waiting:?}");
}

#[tokio::test]
async fn an_issuer_that_knows_bundles_alone_is_understood() {
    let world = World::new().await;
    let identity = world.workload().await.expect("an identity");
    world.acknowledged(Generation::NONE).await;
    world.send_bundle(2).await;
    until("the bundle is acknowledged", || {
        world.heard().last().is_some_and(|it| it.acknowledged_sequence == 2)
    })
    .await;
    let snapshot = identity.snapshot();
    assert_eq!(snapshot.trust.bundles().iter().map(|it| it.sequence()).collect::<Vec<_>>(), [2]);
    drop((identity, snapshot));
    world.released().await;
    let identity = world.workload().await.expect("an identity from disk");
    assert_eq!(identity.snapshot().trust.bundles().iter().map(|it| it.sequence()).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn an_older_issuer_takes_no_revocation_out_of_force() {
    let world = World::new().await;
    let identity = holding_the_first(&world).await;
    world.send_bundle(2).await;
    until("the bundle is acknowledged", || {
        world.heard().last().is_some_and(|it| it.acknowledged_sequence == 2)
    })
    .await;
    assert_eq!(in_use(&identity), (at(7, 1), 1));
    assert!(refuses(&identity, &world.ca, "/mallory"));
}

#[tokio::test]
async fn a_renewal_brings_the_state_in_one_snapshot_and_an_older_one_replaces_nothing() {
    let world = World::with_lives_of(Duration::from_secs(3)).await;
    let identity = holding_the_first(&world).await;
    let mut snapshots = identity.subscribe();
    let serial = identity.snapshot().svid.leaf().serial().to_owned();
    world.goes_with_svids(&second().whole(&world.ca));
    let renewed = snapshots.wait_for(|it| it.svid.leaf().serial() != serial).await.expect("a source").clone();
    assert_eq!(renewed.trust.state().generation, at(7, 2), "SVID and state came apart");
    // The issuer's process is replaced by one that is behind.
    world.goes_with_svids(&first().whole(&world.ca));
    let serial = renewed.svid.leaf().serial().to_owned();
    let again = snapshots.wait_for(|it| it.svid.leaf().serial() != serial).await.expect("a source").clone();
    assert_eq!(again.trust.state().generation, at(7, 2), "an older state replaced a newer one");
    assert!(refuses(&identity, &world.ca, "/eve"));
    world.told("7.2, which is in use").await;
    assert_eq!(world.held()[..2], [("enroll", Generation::NONE), ("renew", at(7, 1))]);
}

#[tokio::test]
async fn a_full_disk_leaves_the_state_in_use_and_is_told() {
    let world = World::new().await;
    let identity = holding_the_first(&world).await;
    // A directory in the place of the file that is written beside it: root could write into a directory of mode 0500.
    std::fs::create_dir_all(world.state_file(".trust-state.bin.new/in-the-way")).expect("a directory");
    world.send(&second().delta(&first())).await;
    world.acknowledged(at(7, 2)).await;
    assert!(refuses(&identity, &world.ca, "/eve"));
    world.told("not on disk").await;
}

#[tokio::test]
async fn what_has_ended_is_not_in_force_after_a_start() {
    let world = World::new().await;
    let mut ended = revoked("/mallory", at(7, 1));
    ended.ends_at = now() - Duration::from_secs(600);
    let state = State { revocations: vec![ended, revoked("/eve", at(7, 1))], ..first() };
    world.goes_with_svids(&state.whole(&world.ca));
    let identity = world.workload().await.expect("an identity");
    assert_eq!(in_use(&identity), (at(7, 1), 1));
    assert!(!refuses(&identity, &world.ca, "/mallory") && refuses(&identity, &world.ca, "/eve"));
}
