//! The same for callers with an identity who take all there is: what they leave to other identities.

use std::sync::Arc;
use std::time::Duration;

use avouch_attacker::floods::{Conduct, Crowd, frames};
use avouch_identity::Resource;
use avouch_testkit::wait::until;
use tokio::task::JoinSet;

use super::{TURN, keeps_four_fifths};
use crate::shares::{self, WATCH, conduct, crowd, usage};
use crate::world::{CHECK, World};

/// Of connections.
const MOST: usize = 100;

/// Between two connections of a crowd: ten a second, each of which costs both ends a handshake.
const PACE: Duration = Duration::from_millis(100);

/// Keeps a crowd as long as the tasks live.
fn staying(tasks: &mut JoinSet<()>, crowd: Crowd) {
    tasks.spawn(async move {
        let _crowd = crowd;
        std::future::pending::<()>().await;
    });
}

/// Half of them say nothing, and half have a call under way for ever.
fn idle_and_busy(world: &World, count: usize, pace: Duration) -> [Crowd; 2] {
    let of = |first| crowd(world, Conduct { pace, ..conduct(count / 2, first) });
    [of(Vec::new()), of(frames::call(1, WATCH, &[]))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_one_identity_has_filled_leaves_four_fifths_of_the_calls() {
    let _turn = TURN.lock().await;
    let (world, shares) = shares::world(|options| options.max_connections = MOST).await;
    let world = Arc::new(world);
    let held = idle_and_busy(&world, MOST, Duration::from_millis(10));
    until("a full listener", || usage(&shares, Resource::Connections).0 >= MOST as u64).await;
    keeps_four_fifths("a listener that is full", &world, &|| {
        let mut tasks = JoinSet::new();
        for crowd in idle_and_busy(&world, 20, 2 * PACE) {
            staying(&mut tasks, crowd);
        }
        tasks
    })
    .await;
    drop(held);
}

/// Makes these calls on a connection of their own, in batches, again and again.
fn calling(world: &Arc<World>, batch: u32, pace: Duration, of: fn(u32) -> Vec<u8>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let world = Arc::clone(world);
    tasks.spawn(async move {
        loop {
            let mut peer = world.peer().await;
            loop {
                let octets: Vec<u8> = (0..batch).flat_map(|_| of(peer.stream())).collect();
                if !peer.send(&octets).await {
                    break;
                }
                tokio::time::sleep(pace).await;
            }
        }
    });
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_answers_and_requests_without_end_leave_four_fifths_of_the_calls() {
    const STREAMS: usize = 1_000;
    let _turn = TURN.lock().await;
    let (world, shares) = shares::world(|options| {
        options.max_streams = STREAMS;
        options.max_calls = STREAMS;
        options.request_timeout = Duration::from_millis(500);
    })
    .await;
    let world = Arc::new(world);
    let watch = |stream| frames::call(stream, WATCH, &[]);
    let _streams = crowd(&world, conduct(8, frames::each(250, watch)));
    until("refusals", || usage(&shares, Resource::Streams).1 >= 500).await;
    let pace = Duration::from_millis(20);
    // Two hundred refused calls a second, beside as many streams as there may be; each costs what a call costs.
    keeps_four_fifths("endless answers", &world, &|| calling(&world, 4, pace, watch)).await;
    // Four hundred a second, of which two hundred are always under way.
    keeps_four_fifths("requests without end", &world, &|| {
        calling(&world, 8, pace, |stream| frames::unfinished(stream, CHECK, 100))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_of_an_identity_that_is_not_admitted_leave_four_fifths_of_the_calls() {
    let _turn = TURN.lock().await;
    let world = Arc::new(World::quarantining(|_| {}).await);
    keeps_four_fifths("handshakes of a quarantined identity", &world, &|| {
        let mut tasks = JoinSet::new();
        staying(&mut tasks, crowd(&world, Conduct { pace: PACE, ..conduct(8, Vec::new()) }));
        tasks
    })
    .await;
}
