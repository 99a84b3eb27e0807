//! Workloads of the library and their issuer: a revocation arrives, is acknowledged and survives both of them.

use std::time::{Duration, SystemTime};

use avouch_api::admin::v1::ListWorkloadsRequest;
use avouch_identity::{Identity, IdentityConfig, IssuerConfig};
use avouch_issuer::Contact;
use avouch_issuer::store::RevocationRecord;
use avouch_spiffe::{Generation, RevocationKey};

use crate::follower::revoke;
use crate::harness::{ORDERS, World, eventually};
use crate::restored::copy;

const THIEF: &str = "spiffe://market.example/thief";

/// A workload with a state directory, that enrolls only where it has a token.
async fn workload(world: &World, enrolls: bool) -> Identity {
    let config = IdentityConfig::Issuer(IssuerConfig {
        address: world.address.to_string(),
        join_token_file: None,
        state_dir: Some(world.temp.path().join("workload")),
        addresses: Vec::new(),
        timeout: Duration::from_secs(5),
    });
    let mut starter = Identity::starter(config).clock(world.clock.shared());
    if enrolls {
        starter = starter.join_token(world.invited(ORDERS).await);
    }
    starter.start().await.unwrap()
}

/// Waits until its tasks have let go of the state directory.
async fn let_go(world: &World, identity: Identity) {
    drop(identity);
    let lock = world.temp.path().join("workload/lock");
    eventually("the state directory is free", async || {
        std::fs::File::open(&lock).unwrap().try_lock().is_ok().then_some(())
    })
    .await;
}

fn refuses(identity: &Identity, id: &str) -> bool {
    let key = RevocationKey::identity(&id.parse().unwrap());
    identity.snapshot().trust.state().revocations.get(&key).is_some()
}

fn held(identity: &Identity) -> Generation {
    identity.snapshot().trust.state().generation
}

async fn acknowledged(world: &World, since: Generation) {
    eventually("the acknowledgement on record", async || {
        let answer = world.admin().await.list_workloads(ListWorkloadsRequest::default()).await.unwrap();
        let mut workloads = answer.into_inner().workloads.into_iter();
        workloads.any(|it| (it.epoch, it.counter) >= (since.epoch, since.counter)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_revocation_that_is_acknowledged_survives_the_end_of_workload_and_issuer() {
    let mut world = World::new().await;
    let identity = workload(&world, true).await;
    assert_eq!(held(&identity), world.issuer().trust().state().generation, "it came with the first SVID");
    let outcome = revoke(&world, &[THIEF], 600).await;
    acknowledged(&world, outcome.since).await;
    assert!(refuses(&identity, THIEF) && held(&identity) >= outcome.since);
    let_go(&world, identity).await;
    world.stop().await;
    let identity = workload(&world, false).await;
    assert!(refuses(&identity, THIEF), "without the issuer, from disk");
    world.start().await;
    let next = world.issuer().trust().state().generation;
    assert!(next.epoch > outcome.since.epoch);
    acknowledged(&world, next).await;
    assert!(refuses(&identity, THIEF));
}

/// Backs the issuer up, revokes the thief so many seconds later, and puts the backup back once workloads know. The issuer does
/// not run then.
async fn restore_from_before_a_revocation(world: &mut World, seconds: u64) -> RevocationRecord {
    world.stop().await;
    let backup = world.temp.path().join("backup");
    copy(&world.config.data_dir, &backup);
    world.clock.advance(Duration::from_secs(seconds));
    world.start().await;
    let outcome = revoke(world, &[THIEF], 600).await;
    acknowledged(world, outcome.since).await;
    world.stop().await;
    std::fs::remove_dir_all(&world.config.data_dir).unwrap();
    std::fs::rename(&backup, &world.config.data_dir).unwrap();
    outcome
}

#[tokio::test]
async fn a_restored_issuer_learns_a_lost_revocation_of_a_workload_and_nothing_is_let_in_meanwhile() {
    let mut world = World::new().await;
    let identity = workload(&world, true).await;
    restore_from_before_a_revocation(&mut world, 1).await;
    world.clock.advance(Duration::from_secs(1));
    world.start().await;
    let key = RevocationKey::identity(&THIEF.parse().unwrap());
    eventually("the revocation is back", async || {
        assert!(refuses(&identity, THIEF), "it was out of force for a while");
        world.issuer().trust().state().revocations.get(&key).map(|_| ())
    })
    .await;
    let next = world.issuer().trust().state().generation;
    acknowledged(&world, next).await;
    assert!(refuses(&identity, THIEF) && held(&identity) == next);
}

#[tokio::test]
async fn a_workload_refuses_the_older_state_of_an_issuer_whose_clock_is_behind() {
    let mut world = World::new().await;
    let identity = workload(&world, true).await;
    let outcome = restore_from_before_a_revocation(&mut world, 4).await;
    // The clock is set back before the restored issuer starts, so that its epoch is an earlier one.
    world.clock.set(second(outcome.since.epoch - 3));
    world.start().await;
    let published = world.issuer().trust().state().generation;
    assert!(published < outcome.since);
    eventually("the workload has come back", async || {
        // What it uses was never published by this issuer, so that it counts for nothing.
        let lagging = world.issuer().lagging(published).await.unwrap();
        lagging.iter().any(|it| it.contact == Contact::Connected && it.generation.is_some()).then_some(())
    })
    .await;
    assert!(refuses(&identity, THIEF));
    // With the clock set right it is believed again, and gets back what it lacks.
    world.stop().await;
    world.clock.set(second(outcome.since.epoch + 2));
    world.start().await;
    eventually("the revocation is back", async || {
        assert!(refuses(&identity, THIEF), "it was out of force for a while");
        (world.issuer().trust().state().revocations.len() == 1).then_some(())
    })
    .await;
}

/// The second that begins an epoch.
fn second(epoch: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(epoch))
}
