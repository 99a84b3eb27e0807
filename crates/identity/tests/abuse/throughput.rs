//! What attacks cost the honest: calls per window without and with an attack, in turns, on one connection that stays and
//! on new ones; and what memory attacks take.
//!
//! Attacker, server and honest callers share the machine's cores here, and the callers take all they can get. So an
//! attack's rate is bounded, well above what one host should ever do and low enough that making the attack is not
//! itself what slows the calls; what is asserted is that the server does little for each hostile event and that nobody
//! is locked out. Windows are short and alternate; calls are counted per time that other processes left to this one,
//! idle time included, since a shared machine is never quiet. While that is too little, up to three times more windows are
//! added, so that what decides is the mean over more of them.

mod neighbours;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use avouch_attacker::floods::Peer;
use avouch_attacker::floods::frames::{self, kind};
use avouch_attacker::floods::machine;
use avouch_attacker::floods::sockets::{HalfOpen, hello_of};
use avouch_attacker::tls;
use avouch_testkit::wait::until;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::support::{channel, check};
use crate::world::{CHECK, ELSEWHERE, World, connect};

const WINDOW: Duration = Duration::from_millis(120);
const ROUNDS: usize = 8;

/// One measurement at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Calls completed so far: on a connection that stays, and each on a new one.
#[derive(Debug, Default)]
struct Done {
    kept: AtomicU64,
    anew: AtomicU64,
    failed: std::sync::Mutex<Vec<String>>,
}

impl Done {
    fn count(&self, counter: &AtomicU64, outcome: Result<(), tonic::Status>) {
        match outcome {
            Ok(()) => drop(counter.fetch_add(1, Ordering::Relaxed)),
            Err(status) => self.failed.lock().unwrap().push(format!("{status:?}")),
        }
    }

    fn now(&self) -> [u64; 2] {
        [self.kept.load(Ordering::Relaxed), self.anew.load(Ordering::Relaxed)]
    }
}

fn honest(world: &Arc<World>, done: &Arc<Done>, callers: &mut JoinSet<()>) {
    let kept = channel(&world.client, &world.running);
    for _ in 0..2 {
        let (kept, done) = (kept.clone(), Arc::clone(done));
        callers.spawn(async move {
            loop {
                done.count(&done.kept, check(&kept).await);
            }
        });
    }
    let (world, done) = (Arc::clone(world), Arc::clone(done));
    callers.spawn(async move {
        loop {
            done.count(&done.anew, world.call_anew().await);
        }
    });
}

/// Calls of both kinds, and the time there was for them.
#[derive(Clone, Copy, Default)]
struct Turns {
    calls: [u64; 2],
    time: u64,
}

/// Adds windows without and with the attack.
async fn measure(world: &Arc<World>, attack: &dyn Fn() -> JoinSet<()>, [quiet, attacked]: &mut [Turns; 2]) {
    let done = Arc::new(Done::default());
    let mut callers = JoinSet::new();
    honest(world, &done, &mut callers);
    tokio::time::sleep(WINDOW).await;
    for round in 0..2 * ROUNDS {
        let (running, turns) =
            if round % 2 == 0 { (None, &mut *quiet) } else { (Some(attack()), &mut *attacked) };
        tokio::time::sleep(WINDOW / 3).await;
        let (before, since) = (done.now(), machine::available());
        tokio::time::sleep(WINDOW).await;
        turns.time += machine::available() - since;
        for ((calls, after), before) in turns.calls.iter_mut().zip(done.now()).zip(before) {
            *calls += after - before;
        }
        drop(running);
    }
    callers.shutdown().await;
    assert!(done.failed.lock().unwrap().is_empty(), "honest calls failed: {:?}", done.failed);
}

async fn keeps_four_fifths(what: &str, world: &Arc<World>, attack: &dyn Fn() -> JoinSet<()>) {
    let mut turns = <[Turns; 2]>::default();
    for measurement in 1..=4 {
        measure(world, attack, &mut turns).await;
        let [quiet, attacked] = &turns;
        let share = |kind: usize| {
            (attacked.calls[kind] * quiet.time) as f64 / (quiet.calls[kind] * attacked.time) as f64
        };
        let [kept, anew] = [share(0), share(1)];
        eprintln!("{what}: {:.0} % of calls, {:.0} % of new connections", kept * 100.0, anew * 100.0);
        if kept >= machine::least_share() && anew >= machine::least_share() {
            return;
        }
        assert!(measurement < 4, "{what}: {kept:.2} of calls and {anew:.2} of new connections are left");
    }
}

async fn world() -> Arc<World> {
    Arc::new(World::new(|_| {}).await)
}

/// Half-open handshakes, 250 begun per second.
fn half_open(world: &World, from: Option<IpAddr>, first: &[u8]) -> HalfOpen {
    HalfOpen::keep(world.target(), from, 2_000, first.to_vec(), Duration::from_millis(4))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_handshakes_leave_four_fifths_of_the_calls() {
    let _turn = TURN.lock().await;
    for (what, from, first) in [
        ("half-open handshakes from elsewhere", Some(ELSEWHERE), vec![]),
        ("half-open handshakes from one's own address", None, hello_of(2_000)),
    ] {
        let world = world().await;
        // Nearly all of the room is taken before it begins.
        let mut held = Vec::new();
        for _ in 0..1_000 {
            held.push(tls::socket(world.target(), from).await.unwrap());
        }
        // Until the server has taken them in, its backlog is full and the system drops what comes.
        while world.call_anew().await.is_err() {}
        keeps_four_fifths(what, &world, &|| {
            let flood = half_open(&world, from, &first);
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                let _flood = flood;
                std::future::pending::<()>().await;
            });
            tasks
        })
        .await;
    }
}

/// Opens a connection with a stolen identity, lets it do harm, and again, at most once per `pace`.
fn again<F: Future<Output = ()> + Send>(
    world: &Arc<World>,
    pace: Duration,
    harm: impl Fn(Peer) -> F + Send + Sync + Clone + 'static,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (target, stolen) = (world.target(), world.stolen());
    tasks.spawn(async move {
        loop {
            let next = tokio::time::Instant::now() + pace;
            harm(Peer::start(connect(target, Some(&stolen)).await).await).await;
            tokio::time::sleep_until(next).await;
        }
    });
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_and_endless_headers_leave_four_fifths_of_the_calls() {
    let _turn = TURN.lock().await;
    let world = world().await;
    // Ten connections a second, each with as much harm as it gets done: with resets, thousands of streams a second.
    let pace = Duration::from_millis(100);
    keeps_four_fifths("rapid reset", &world, &|| {
        again(&world, pace, async |mut peer: Peer| {
            peer.rapid_reset(CHECK, 10_000, 200, None).await;
        })
    })
    .await;
    keeps_four_fifths("CONTINUATION flood", &world, &|| {
        again(&world, pace, async |mut peer: Peer| {
            peer.continuation_flood(&frames::literal("x", &"y".repeat(1_000)), 10_000).await;
        })
    })
    .await;
    keeps_four_fifths("giant headers", &world, &|| {
        again(&world, pace, async |mut peer: Peer| {
            let stream = peer.stream();
            let block = [frames::request(CHECK), frames::literal("x", &"y".repeat(15_000))].concat();
            for _ in 0..8 {
                peer.send(&frames::frame(kind::HEADERS, 0, stream, &block)).await;
            }
        })
    })
    .await;
    keeps_four_fifths("silence after the handshake", &world, &|| {
        let (target, stolen) = (world.target(), world.stolen());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut held = Vec::new();
            loop {
                held.push(connect(target, Some(&stolen)).await);
                tokio::time::sleep(pace / 2).await;
            }
        });
        tasks
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_handshakes_take_no_more_memory_than_their_number_allows() {
    let _turn = TURN.lock().await;
    let world = world().await;
    // Both ends are in this process. A silent peer costs a socket and a task, and twice that on its
    // own side; the largest that may be unfinished is one
    // handshake message of 64 KiB, held once as it came and once as it is read.
    for (what, first, each_kib) in
        [("silent", Vec::new(), 32), ("60 KiB of a hello", unfinished_hello(), 2 * 64 + 32)]
    {
        let before = machine::resident_kib();
        let flood = HalfOpen::keep(world.target(), Some(ELSEWHERE), 2_000, first, Duration::from_micros(100));
        until("2,000 of them", || flood.begun() >= 2_500).await;
        let grown = machine::resident_kib().saturating_sub(before);
        let bound = 1_024 * each_kib;
        eprintln!("{what}: 1,024 half-open handshakes and their 2,000 peers take {grown} KiB of {bound}");
        assert!(grown < bound, "{what}: {grown} KiB");
        drop(flood);
    }
    world.call_anew().await.expect("the server lives");
}

/// Records of a ClientHello whose end never comes.
fn unfinished_hello() -> Vec<u8> {
    let mut records = Vec::new();
    let mut message = vec![1, 0, 0xf0, 0, 3, 3];
    message.resize(60 * 1024, 0);
    for part in message.chunks(16 * 1024) {
        records.extend_from_slice(&[22, 3, 1]);
        records.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
        records.extend_from_slice(part);
    }
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_identity_take_no_more_memory_than_their_number_allows() {
    let _turn = TURN.lock().await;
    let world = Arc::new(World::open(|_| {}).await);
    let before = machine::resident_kib();
    // Each a request of 60 KiB that is never complete. Both ends are in this process.
    let call = frames::frame(kind::HEADERS, frames::END_HEADERS, 1, &frames::request(CHECK));
    let body = [&[0, 0, 1, 0, 0][..], &[0; 12_000]].concat();
    let request = [call, frames::frame(kind::DATA, 0, 1, &body).repeat(5)].concat();
    let mut peers = Vec::new();
    for _ in 0..1_100 {
        let mut peer = Peer::start(connect(world.target(), None).await).await;
        peer.send(&request).await;
        peers.push(peer);
    }
    until("the end of the oldest", || world.records().ends().len() >= 76).await;
    let (grown, bound) = (machine::resident_kib().saturating_sub(before), 1_024 * 256);
    eprintln!("1,024 connections without identity and their peers take {grown} KiB of {bound}");
    assert!(grown < bound, "{grown} KiB");
    // A peer hears of its end a moment after the server has written it down.
    let open = || peers.iter().filter(|peer| !peer.seen().ended).count();
    until("the peers' word of it", || open() <= 1_024).await;
    assert_eq!(open(), 1_024);
    world.call_anew().await.expect("the server lives");
}
