//! An issuer that was restored from a backup made before a revocation (ADR 5).

use crate::follower::{Follower, Kind, revoke};
use crate::harness::{Held, ORDERS, World, eventually};
use avouch_issuer::store::By;
use avouch_spiffe::{Generation, Revocation, RevocationKey, Revocations};
use std::path::Path;
use std::time::Duration;

const THIEF: &str = "spiffe://market.example/thief";
const OTHER: &str = "spiffe://market.example/other";

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn key(id: &str) -> RevocationKey {
    RevocationKey::identity(&id.parse().unwrap())
}

/// An issuer whose data directory is that of before `change`; what a workload holds that was there when it was made.
struct Restored {
    world: World,
    held: Held,
    generation: Generation,
    revocations: Revocations,
}

impl Restored {
    async fn after(change: impl AsyncFnOnce(&World)) -> Self {
        let mut world = World::new().await;
        let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
        world.stop().await;
        let backup = world.temp.path().join("backup");
        copy(&world.config.data_dir, &backup);
        world.clock.advance(Duration::from_secs(1));
        world.start().await;
        change(&world).await;
        let mut follower = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
        follower.next().await;
        let (generation, revocations) = (follower.held, follower.revocations.clone());
        drop(follower);
        world.stop().await;
        std::fs::remove_dir_all(&world.config.data_dir).unwrap();
        std::fs::rename(&backup, &world.config.data_dir).unwrap();
        world.clock.advance(Duration::from_secs(1));
        world.start().await;
        Self { world, held, generation, revocations }
    }

    /// The workload comes back, and takes the whole state of the restored issuer.
    async fn follower(&self) -> Follower {
        let mut raw = self.world.connect(Some(&self.held)).await;
        let mut follower =
            Follower::holding(&mut raw, 1, self.generation, self.revocations.clone()).await.unwrap();
        let update = follower.update().await.unwrap();
        let known = update.known.unwrap();
        assert!(self.generation > Generation { epoch: known.epoch, counter: known.counter });
        assert_eq!(follower.apply(&update), Kind::Whole);
        follower
    }

    fn in_force(&self, id: &str) -> Option<Revocation> {
        self.world.issuer().trust().state().revocations.get(&key(id)).copied()
    }

    fn returned(&self, ids: &[&str]) -> Vec<u8> {
        ids.iter().flat_map(|id| self.revocations.get(&key(id)).unwrap().encode()).collect()
    }
}

#[tokio::test]
async fn what_a_restored_issuer_lacks_comes_back_from_a_workload() {
    let restored = Restored::after(async |world| {
        revoke(world, &[THIEF, OTHER], 600).await;
        revoke(world, &[ORDERS], 1).await; // has ended when the workload returns it
        world.clock.advance(Duration::from_secs(2));
        world.issuer().trust().refresh().await.unwrap();
    })
    .await;
    assert_eq!(restored.in_force(THIEF), None);
    let mut follower = restored.follower().await;
    follower.say(restored.returned(&[THIEF, OTHER])).await;
    let (kind, counter) = (follower.next().await, follower.held.counter);
    assert_eq!((kind, follower.revocations.len()), (Kind::Delta, 2));
    let taken = restored.in_force(THIEF).unwrap();
    assert_eq!(Some(&taken), restored.revocations.get(&key(THIEF)), "as it was: generation, end and proof");
    assert_eq!(follower.revocations, restored.revocations);
    // The revocation, one that has ended, and its end: the first has come back.
    assert_eq!(restored.world.issuer().trust().lost_changes(), 2);
    // Everybody returns them; once is enough.
    follower.say(restored.returned(&[THIEF, OTHER])).await;
    revoke(&restored.world, &["spiffe://market.example/later"], 600).await;
    follower.next().await;
    assert_eq!(follower.held.counter, counter + 1);
}

#[tokio::test]
async fn changes_that_nobody_returns_are_named() {
    let restored = Restored::after(async |world| {
        for id in [THIEF, OTHER, ORDERS] {
            let outcome = revoke(world, &[id], 600).await;
            if id == ORDERS {
                let at = world.clock.shared().now();
                world.issuer().store().undo_revocation(outcome.id, By::new("uid 0", at)).await.unwrap();
                world.issuer().trust().refresh().await.unwrap();
            }
        }
    })
    .await;
    let follower = restored.follower().await;
    follower.say(Vec::new()).await;
    let lost = || restored.world.issuer().trust().lost_changes();
    eventually("they are counted", async || (lost() == 4).then_some(())).await;
    follower.say(restored.returned(&[THIEF])).await;
    eventually("one is back", async || (lost() == 3).then_some(())).await;
}

#[tokio::test]
async fn forged_revocations_are_refused_and_the_stream_goes_on() {
    let restored = Restored::after(async |world| {
        revoke(world, &[THIEF], 600).await;
    })
    .await;
    let mut follower = restored.follower().await;
    let genuine = *restored.revocations.get(&key(THIEF)).unwrap();
    // Another victim, a longer time, another generation, with the proof of the true one; and what is no revocation.
    let longer = Revocation { ends_at: genuine.ends_at + Duration::from_secs(9), ..genuine };
    let since = Generation { counter: genuine.since.counter + 1, ..genuine.since };
    for forged in [Revocation { key: key(ORDERS), ..genuine }, longer, Revocation { since, ..genuine }] {
        follower.say(forged.encode().to_vec()).await;
    }
    follower.say(vec![1; 47]).await;
    follower.say(genuine.encode().repeat(1_001)).await;
    follower.say(genuine.encode().to_vec()).await;
    follower.next().await;
    let keys: Vec<_> = follower.revocations.iter().map(|it| it.key).collect();
    assert_eq!(keys, [key(THIEF)]);
    assert_eq!(restored.in_force(THIEF), Some(genuine));
}

#[tokio::test]
async fn what_was_undone_is_not_brought_back() {
    let restored = Restored::after(async |world| {
        revoke(world, &[THIEF], 600).await;
    })
    .await;
    let mut follower = restored.follower().await;
    follower.say(restored.returned(&[THIEF])).await;
    follower.next().await;
    // The operator takes it back, at the restored issuer; id 1, since its store had none.
    let (issuer, at) = (restored.world.issuer(), restored.world.clock.shared().now());
    assert!(issuer.store().undo_revocation(1, By::new("uid 0", at)).await.unwrap().is_some());
    issuer.trust().refresh().await.unwrap();
    assert_eq!((follower.next().await, follower.revocations.len()), (Kind::Delta, 0));
    // A workload that has not heard of that returns it once more.
    let mut late = restored.follower().await;
    late.say(restored.returned(&[THIEF])).await;
    revoke(&restored.world, &[OTHER], 600).await;
    late.next().await;
    assert_eq!((restored.in_force(THIEF), late.revocations.len()), (None, 1));
}

#[tokio::test]
async fn a_whole_state_names_what_was_undone() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let outcome = revoke(&world, &[THIEF], 600).await;
    let at = world.clock.shared().now();
    world.issuer().store().undo_revocation(outcome.id, By::new("uid 0", at)).await.unwrap();
    world.issuer().trust().refresh().await.unwrap();
    let mut follower = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
    let update = follower.update().await.unwrap();
    assert_eq!(update.restored, key(THIEF).0);
}

#[tokio::test]
async fn a_workload_that_is_ahead_of_a_clock_set_back_gets_whole_states() {
    let restored = Restored::after(async |world| {
        revoke(world, &[THIEF], 600).await;
    })
    .await;
    let mut raw = restored.world.connect(Some(&restored.held)).await;
    let ahead = Generation { epoch: restored.generation.epoch + 1_000, counter: 1 };
    let mut follower = Follower::holding(&mut raw, 1, ahead, Revocations::default()).await.unwrap();
    let update = follower.update().await.unwrap();
    assert!(update.base.is_none() && update.generation.unwrap().epoch < ahead.epoch);
    // What it says it uses counts for nothing: the issuer has never published it.
    let current = restored.world.issuer().trust().state().generation;
    assert_eq!(restored.world.issuer().lagging(current).await.unwrap().len(), 1);
}
