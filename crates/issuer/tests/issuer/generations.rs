//! The trust stream by generations: whole states, deltas, acknowledgements of each process.

use crate::follower::{Follower, Kind, revoke};
use crate::harness::{Held, ORDERS, World, csr, eventually};
use avouch_api::admin::v1::{ListWorkloadsRequest, WatchAcknowledgementsRequest};
use avouch_api::issuer::v1 as api;
use avouch_issuer::Contact;
use avouch_spiffe::{Generation, Revocations};
use prost::Message;
use rcgen::KeyPair;
use std::time::Duration;

const THIEF: &str = "spiffe://market.example/thief";

async fn world() -> (World, Held) {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    (world, held)
}

fn generation(world: &World) -> Generation {
    world.issuer().trust().state().generation
}

#[tokio::test]
async fn a_change_comes_as_one_delta_and_its_acknowledgement_is_on_record() {
    let (world, held) = world().await;
    let mut follower = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
    assert_eq!((follower.next().await, follower.held), (Kind::Whole, generation(&world)));
    let outcome = revoke(&world, &[THIEF], 600).await;
    assert!(!world.issuer().lagging(outcome.since).await.unwrap().is_empty());
    assert_eq!((follower.next().await, follower.held), (Kind::Delta, outcome.since));
    assert_eq!(follower.revocations, *world.issuer().trust().state().revocations);
    eventually("everybody has acknowledged", async || {
        world.issuer().lagging(outcome.since).await.unwrap().is_empty().then_some(())
    })
    .await;
    let listed = eventually("the acknowledgement on disk", async || {
        let answer = world.admin().await.list_workloads(ListWorkloadsRequest::default()).await.unwrap();
        let workloads = answer.into_inner().workloads;
        workloads.iter().any(|it| it.counter == outcome.since.counter).then_some(workloads)
    })
    .await;
    assert_eq!(listed.len(), 1);
    let (one, since) = (&listed[0], outcome.since);
    assert_eq!(
        (one.epoch, one.instance.as_str(), &one.serial),
        (since.epoch, &*"01".repeat(16), &held.serial())
    );
}

#[tokio::test]
async fn who_comes_back_gets_one_delta_from_what_it_holds_and_the_whole_state_if_that_is_unknown() {
    let (world, held) = world().await;
    let raw = || async { world.connect(Some(&held)).await };
    let mut first = Follower::open(&mut raw().await, 1).await;
    first.next().await;
    let (old, none) = (first.held, first.revocations.clone());
    drop(first);
    for id in [THIEF, "spiffe://market.example/a", "spiffe://market.example/b"] {
        revoke(&world, &[id], 600).await;
    }
    let mut back = Follower::holding(&mut raw().await, 2, old, none.clone()).await.unwrap();
    assert_eq!((back.next().await, back.held), (Kind::Delta, generation(&world)));
    assert_eq!(back.revocations.len(), 3);
    let unknown = Generation { epoch: old.epoch - 7, counter: 99 };
    let mut stranger = Follower::holding(&mut raw().await, 3, unknown, none).await.unwrap();
    assert_eq!((stranger.next().await, stranger.revocations.len()), (Kind::Whole, 3));
}

#[tokio::test]
async fn after_a_mismatch_the_whole_state_comes_at_once() {
    let (world, held) = world().await;
    let mut follower = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
    follower.next().await;
    revoke(&world, &[THIEF], 600).await;
    let delta = follower.update().await.unwrap();
    assert!(delta.base.is_some());
    follower.held = Generation::NONE;
    follower.say(Vec::new()).await;
    assert_eq!((follower.next().await, follower.held), (Kind::Whole, generation(&world)));
}

#[tokio::test]
async fn a_restart_begins_a_later_epoch_with_a_whole_state() {
    let (mut world, held) = world().await;
    revoke(&world, &[THIEF], 600).await;
    let mut follower = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
    follower.next().await;
    let (before, revocations) = (follower.held, follower.revocations.clone());
    world.restart().await;
    let mut raw = world.connect(Some(&held)).await;
    let mut follower = Follower::holding(&mut raw, 1, before, revocations.clone()).await.unwrap();
    let update = follower.update().await.unwrap();
    assert_eq!(follower.apply(&update), Kind::Whole);
    assert!(follower.held.epoch > before.epoch && follower.revocations == revocations);
    let known = update.known.unwrap();
    assert_eq!((known.epoch, known.counter), (before.epoch, before.counter), "nothing is lost by a restart");
    assert_eq!(world.issuer().trust().lost_changes(), 0);
}

#[tokio::test]
async fn what_has_ended_leaves_the_wire_by_itself() {
    let (world, held) = world().await;
    revoke(&world, &[THIEF], 5).await;
    let mut follower = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
    follower.next().await;
    assert_eq!(follower.revocations.len(), 1);
    world.clock.advance(Duration::from_secs(6));
    assert_eq!((follower.next().await, follower.revocations.len()), (Kind::Delta, 0));
}

#[tokio::test]
async fn an_answer_carries_the_state_only_where_it_is_newer() {
    let (world, held) = world().await;
    revoke(&world, &[THIEF], 600).await;
    let mut raw = world.connect(Some(&held)).await;
    let now = generation(&world);
    let wire = |it: Generation| Some(api::Generation { epoch: it.epoch, counter: it.counter });
    let older = Generation { counter: now.counter - 1, ..now };
    for (says, carries) in
        [(None, false), (wire(now), false), (wire(older), true), (wire(Generation::NONE), true)]
    {
        let request = api::RenewRequest { csr: csr(&KeyPair::generate().unwrap(), &[]), held: says };
        let svid = raw.client.renew(request).await.unwrap().into_inner().svid.unwrap();
        assert!(svid.bundle.is_some());
        assert_eq!(!svid.trust.is_empty(), carries, "{says:?}");
        if carries {
            let update = api::TrustUpdate::decode(svid.trust).unwrap();
            assert_eq!((update.base, update.generation), (None, wire(now)));
            assert_eq!(Revocations::decode(&update.revoked).unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn two_replicas_of_one_identity_without_addresses_count_as_two() {
    let (world, held) = world().await;
    let token = world.token(ORDERS).await;
    let other = world.enroll(&token).await.unwrap();
    let mut one = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
    let mut two = Follower::open(&mut world.connect(Some(&other)).await, 2).await;
    one.next().await;
    two.next().await;
    let outcome = revoke(&world, &[THIEF], 600).await;
    one.next().await;
    let lagging = eventually("one has acknowledged", async || {
        let lagging = world.issuer().lagging(outcome.since).await.unwrap();
        (lagging.len() == 1).then_some(lagging)
    })
    .await;
    assert_eq!((&lagging[0].serial, lagging[0].contact), (&other.serial(), Contact::Connected));
    // It sleeps: without a stream it is waited for all the same.
    drop(two);
    eventually("it is away", async || {
        let lagging = world.issuer().lagging(outcome.since).await.unwrap();
        (lagging.len() == 1 && lagging[0].contact == Contact::Away).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_administrator_watches_the_acknowledgements_until_all_are_there() {
    let (world, held) = world().await;
    let mut follower = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
    follower.next().await;
    let outcome = revoke(&world, &[THIEF], 600).await;
    let request = WatchAcknowledgementsRequest { epoch: outcome.since.epoch, counter: outcome.since.counter };
    let mut watching = world.admin().await.watch_acknowledgements(request).await.unwrap().into_inner();
    let first = watching.message().await.unwrap().unwrap();
    assert_eq!((first.acknowledged.len(), first.waiting.len(), first.complete), (0, 1, false));
    let waiting = &first.waiting[0];
    assert_eq!((waiting.spiffe_id.as_str(), waiting.state.as_str()), (ORDERS, "connected"));
    assert!(waiting.not_after.is_some());
    follower.next().await;
    let mut acknowledged = Vec::new();
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), watching.message()).await.unwrap();
        let message = message.unwrap().unwrap();
        acknowledged.extend(message.acknowledged);
        if message.complete {
            break;
        }
    }
    assert_eq!(acknowledged.len(), 1);
    assert_eq!((acknowledged[0].serial.as_str(), acknowledged[0].connections_ended), (&*held.serial(), 3));
    assert!(acknowledged[0].at.is_some());
    assert!(watching.message().await.unwrap().is_none(), "the stream ends when all are there");
}

#[tokio::test]
async fn who_watches_does_not_keep_the_issuer_from_stopping() {
    let (mut world, _held) = world().await;
    let request = WatchAcknowledgementsRequest::default();
    let mut watching = world.admin().await.watch_acknowledgements(request).await.unwrap().into_inner();
    assert_eq!(watching.message().await.unwrap().unwrap().waiting.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn whoever_is_revoked_is_cut_off_by_the_issuer_itself() {
    let (world, held) = world().await;
    let mut follower = Follower::open(&mut world.connect(Some(&held)).await, 1).await;
    follower.next().await;
    revoke(&world, &[ORDERS], 600).await;
    assert!(follower.end().await.is_some(), "no end as of a drained stream");
    let mut again = match crate::harness::try_connect(world.address, Some(&held)).await {
        Err(_) => return,
        Ok(again) => again,
    };
    again.renew(csr(&KeyPair::generate().unwrap(), &[])).await.unwrap_err();
}

/// Many keys in one act: 16 KiB and more.
fn many() -> Vec<String> {
    (0..1_000).map(|number| format!("spiffe://market.example/gone/{number}")).collect()
}

#[tokio::test]
async fn large_states_come_to_all_who_come_back_at_once_in_turns() {
    let (world, held) = world().await;
    let many = many();
    revoke(&world, &many.iter().map(String::as_str).collect::<Vec<_>>(), 600).await;
    let mut followers = Vec::new();
    for _ in 0..2 {
        let mut raw = world.connect(Some(&held)).await;
        for number in 0..25 {
            followers.push(Follower::open(&mut raw, number).await);
        }
    }
    // More than are on their way at once, and none of the first acknowledges: the others wait for their turn, and get it.
    let mut reading = tokio::task::JoinSet::new();
    for mut follower in followers {
        reading.spawn(async move {
            let update = follower.update().await.unwrap();
            (follower.apply(&update), follower.revocations.len())
        });
    }
    while let Some(read) = reading.join_next().await {
        assert_eq!(read.unwrap(), (Kind::Whole, 1_000));
    }
}
