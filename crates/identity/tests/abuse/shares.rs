//! Identities that take all there is of a listener: others find room, and what a listener holds stays bounded.
//!
//! Both ends are in this process, so memory is measured for both.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use avouch_attacker::floods::frames::{self, INITIAL_WINDOW_SIZE};
use avouch_attacker::floods::{Conduct, Crowd, Peer, machine};
use avouch_attacker::tls::{self, Approach};
use avouch_identity::spiffe::Reason;
use avouch_identity::{Resource, Shares};
use tokio::time::Instant;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{channel, check, id};
use crate::world::{CHECK, ELSEWHERE, TIMEOUT, TestServer, World};
use avouch_testkit::wait::until;

pub(crate) const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Streams that a client may have open on a connection, nearly: 256 are allowed.
const EACH: u32 = 250;

pub(crate) async fn world(change: impl FnOnce(&mut avouch_identity::ServerOptions)) -> (World, Shares) {
    let mut shares = None;
    let world = World::with(change, |server| {
        shares = Some(server.shares());
        server
    });
    (world.await, shares.expect("taken"))
}

/// How much of a resource is in use, and how often somebody was refused more.
pub(crate) fn usage(shares: &Shares, resource: Resource) -> (u64, u64) {
    let usage = shares.usage(0).into_iter().find(|usage| usage.resource == resource);
    usage.map(|usage| (usage.used, usage.refused)).expect("every resource is told")
}

pub(crate) fn conduct(count: usize, first: Vec<u8>) -> Conduct {
    Conduct { from: ELSEWHERE, count, pace: Duration::from_millis(15), first, reads: true }
}

pub(crate) fn crowd(world: &World, conduct: Conduct) -> Crowd {
    Crowd::gather(world.target(), &world.stolen(), conduct).expect("a crowd")
}

/// A connection from this address, with an identity that others have as well.
async fn replica(world: &World, from: IpAddr) -> Peer {
    let tcp = tls::socket(world.target(), Some(from)).await.expect("a connection");
    let shown = world.stolen();
    Peer::start(tls::handshake(tcp, Approach::showing(Some(&shown))).await.expect("a handshake")).await
}

/// One call, to its end.
async fn call(peer: &mut Peer) {
    let before = peer.seen().headers;
    peer.calls(CHECK, &[], 1, 1, Duration::ZERO).await;
    // An answer and its trailers.
    until("an answer", || peer.seen().headers >= before + 2).await;
}

const MOST: usize = 100;

/// Sixty callers come one after the other while one identity has filled the listener and comes again and again.
async fn others_find_room(first: Vec<u8>) {
    let (world, shares) = world(|options| options.max_connections = MOST).await;
    let kept = channel(&world.client, &world.running);
    check(&kept).await.expect("room");
    // What reconnects takes the machine's time from the callers, who share it: 60 a second leave them enough.
    let flood = crowd(&world, conduct(MOST + 40, first));
    until("refusals", || usage(&shares, Resource::Connections).1 > 20).await;
    assert_eq!(usage(&shares, Resource::Connections).0, MOST as u64);
    for number in 0..60 {
        world.call_anew().await.unwrap_or_else(|status| panic!("caller {number}: {status:?}"));
        check(&kept).await.expect("the connection that was there first");
        // Each newcomer may take the place of one that has not gone yet.
        let open = world.records().open();
        assert!(open <= 2 * MOST, "{open} connections are open where {MOST} are allowed");
    }
    let of_others = world.records().ends().into_iter().find(|end| end.peer_id != Some(id("/stolen")));
    assert!(of_others.is_none(), "{of_others:?}");
    let honest = world.records().all().iter().filter(|it| it.peer_id == Some(id("/client"))).count();
    assert_eq!(honest, 61, "none of them connected twice");
    assert!(world.refused(ELSEWHERE) > 20 && flood.dismissed() > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_without_any_role_that_fills_the_listener_with_idle_connections_keeps_nobody_out() {
    others_find_room(Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_never_idle_keep_nobody_out_either() {
    others_find_room(frames::call(1, WATCH, &[])).await;
}

#[tokio::test]
async fn an_identity_that_leaks_connections_hurts_only_itself() {
    let (world, shares) = world(|options| options.max_connections = 32).await;
    let mut honest = Vec::new();
    for _ in 0..8 {
        let channel = channel(&world.client, &world.running);
        check(&channel).await.expect("room");
        honest.push(channel);
    }
    let mut leaked = Vec::new();
    for _ in 0..60 {
        leaked.push(world.peer().await);
    }
    until("the refusal of the rest", || world.refused(ELSEWHERE) == 60 - 24).await;
    for channel in &honest {
        check(channel).await.expect("what others hold stays");
    }
    world.call_anew().await.expect("and they find room for more");
    assert_eq!(usage(&shares, Resource::Connections).1, 60 - 24);
    let peers = world.records().ends().into_iter().map(|end| end.peer_id);
    assert!(peers.clone().all(|peer| peer == Some(id("/stolen"))), "{:?}", peers.collect::<Vec<_>>());
    for peer in leaked.iter_mut().skip(24) {
        let (code, words) = peer.outcome(TIMEOUT).await.goaway.expect("a goodbye");
        assert_eq!(code, 11, "ENHANCE_YOUR_CALM");
        assert!(words.starts_with("HANDSHAKE_LIMIT: "), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_replicas_of_an_identity_work_on_beside_one_that_leaks() {
    let (world, shares) = world(|options| options.max_connections = 256).await;
    let network = |number: u8| IpAddr::V4(Ipv4Addr::new(127, 0, 1, number));
    let mut replicas = Vec::new();
    for number in 0..200 {
        replicas.push(replica(&world, network(number % 20)).await);
    }
    let mut leaked = Vec::new();
    for _ in 0..100 {
        leaked.push(replica(&world, ELSEWHERE).await);
    }
    until("the refusal of the rest", || world.refused(ELSEWHERE) == 100 - 56).await;
    for peer in &mut replicas {
        call(peer).await;
    }
    // Those that start anew find the room that the one that leaks has taken.
    for (number, peer) in (0..20).zip(&mut replicas) {
        *peer = replica(&world, network(number)).await;
        call(peer).await;
    }
    for peer in &mut replicas {
        call(peer).await;
        assert_eq!(peer.seen().goaway, None);
    }
    assert!(usage(&shares, Resource::Connections).0 <= 256);
    let from = |end: &avouch_identity::ConnectionEnd| end.peer_addr.ip();
    assert!(world.records().ends().iter().all(|end| from(end) == ELSEWHERE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_answers_on_many_connections_are_bounded_and_others_get_theirs() {
    // Of 10,000 that are asked for.
    const STREAMS: usize = 1_000;
    let (world, shares) = world(|options| options.max_streams = STREAMS).await;
    let before = machine::resident_kib();
    let watch = frames::each(EACH, |stream| frames::call(stream, WATCH, &[]));
    let _flood = crowd(&world, conduct(40, watch));
    let refused = || usage(&shares, Resource::Streams).1;
    until("refusals", || refused() >= 9_000).await;
    let channel = channel(&world.client, &world.running);
    let mut honest = Vec::new();
    for _ in 0..20 {
        let mut health = HealthClient::new(channel.clone());
        let stream = health.watch(HealthCheckRequest { service: String::new() }).await;
        let mut stream = stream.expect("others find room").into_inner();
        stream.message().await.expect("no error").expect("the state now");
        honest.push(stream);
    }
    check(&channel).await.expect("a call beside them");
    let (used, _) = usage(&shares, Resource::Streams);
    assert!(used <= STREAMS as u64 + 20, "{used} streams are open");
    let grown = machine::resident_kib().saturating_sub(before);
    eprintln!("{used} streams and the peers of 10,000 take {grown} KiB");
    assert!(grown < 96 * 1024, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_message_never_ends_are_bounded_and_have_an_end() {
    const CALLS: usize = 1_000;
    let timeout = Duration::from_secs(3);
    let (world, shares) = world(|options| {
        options.max_calls = CALLS;
        options.request_timeout = timeout;
    })
    .await;
    let before = machine::resident_kib();
    let unfinished = |stream| frames::unfinished(stream, CHECK, 1_000);
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(world.peer().await);
    }
    let began = Instant::now();
    for peer in &mut peers {
        peer.send(&frames::each(EACH, unfinished)).await;
    }
    let channel = channel(&world.client, &world.running);
    for _ in 0..20 {
        check(&channel).await.expect("others have their calls");
    }
    // The first may have come to their end before the last came.
    until("refusals", || world.records().calls_refused("/stolen") >= 5_000 - 2 * CALLS).await;
    assert!(usage(&shares, Resource::Calls).0 <= CALLS as u64);
    let grown = machine::resident_kib().saturating_sub(before);
    eprintln!("{CALLS} unfinished requests and the peers of 5,000 take {grown} KiB");
    assert!(grown < 64 * 1024, "{grown} KiB");
    until("the end of all", || usage(&shares, Resource::Calls).0 == 0).await;
    assert!(began.elapsed() < timeout + Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(usage(&shares, Resource::Bytes).0, 0);
    // Each was answered, and none of the connections had to end for it.
    for peer in &mut peers {
        until("all answers", || peer.seen().headers >= EACH as usize).await;
        assert!(!peer.seen().ended);
    }
    assert_eq!(world.records().calls_refused("/client"), 0);
}

const BUFFERED: u64 = 16 * 1024 * 1024;

/// What 5,000 streams take before there is any data on them, both ends together: 45 to 98 MiB, as the allocator shares out
/// the memory among threads. What is not bounded takes several times as much.
const STREAMS_KIB: u64 = 128 * 1024;

/// Resident memory when it has stopped growing, in KiB: when all has come that is going to come, which nothing says.
async fn settled() -> u64 {
    let mut last = (0, Instant::now());
    until("the end of the growth", || {
        let now = machine::resident_kib();
        if now > last.0 + 256 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(500)
    })
    .await;
    last.0
}

/// Calls on 20 connections, whose bytes nobody takes: no more of them is held than is allowed, and others are answered.
async fn bytes_are_bounded(what: &str, first: Vec<u8>, reads: bool) {
    let server = TestServer::new(|options| options.max_buffered_bytes = BUFFERED).await;
    let mut honest = server.honest().await;
    let before = machine::resident_kib();
    let conduct = Conduct { reads, ..conduct(20, first) };
    let flood = Crowd::gather(server.target, &server.stolen, conduct).expect("a crowd");
    until("all connections", || flood.up() >= 20).await;
    let grown = settled().await.saturating_sub(before);
    let (held, refused) = usage(&server.shares, Resource::Bytes);
    eprintln!("{what}: {grown} KiB, {held} bytes counted, {refused} refusals");
    assert!(grown < BUFFERED / 1024 + STREAMS_KIB, "{what}: {grown} KiB");
    assert!(held <= BUFFERED, "{what}: {held} bytes are held");
    let answers = honest.seen().headers;
    honest.calls("/test/Ok", &[], 1, 1, Duration::ZERO).await;
    until("an answer for somebody else", || honest.seen().headers > answers).await;
}

fn calls_with_window(path: &str, window: u32) -> Vec<u8> {
    let calls = frames::each(EACH, |stream| frames::call(stream, path, &[]));
    let more = frames::window_update(0, window);
    let setting = frames::setting(INITIAL_WINDOW_SIZE, window);
    if window == 0 { [setting, calls].concat() } else { [setting, more, calls].concat() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_for_which_there_is_no_window_take_no_more_memory_than_is_allowed() {
    bytes_are_bounded("no window, large answers", calls_with_window("/test/Large", 0), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_take_no_more_memory_than_is_allowed() {
    let window = 0x3fff_ffff;
    bytes_are_bounded("nobody reads, large answers", calls_with_window("/test/Large", window), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_in_small_pieces_that_nobody_reads_take_no_more_memory_than_is_allowed() {
    let window = 0x3fff_ffff;
    bytes_are_bounded("nobody reads, small answers", calls_with_window("/test/Small", window), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_no_service_reads_take_no_more_memory_than_is_allowed() {
    // What nobody reads lies in h2, uncounted: a connection's window of 256 KiB.
    const CONNECTIONS: u64 = 80;
    const WINDOW_KIB: u64 = 256;
    const PART: usize = 60_000;
    let server = TestServer::new(|options| options.max_buffered_bytes = BUFFERED).await;
    let mut honest = server.honest().await;
    let before = machine::resident_kib();
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut peer = server.peer(true).await;
        // All that the server says it takes, and no octet more: that would end the connection.
        until("the server's window", || peer.seen().window > 0).await;
        let streams = (65_535 + peer.seen().window) / (PART as u64 + 5);
        let streams = u32::try_from(streams).expect("a window");
        peer.send(&frames::each(streams, |stream| frames::unfinished(stream, "/test/Hang", PART))).await;
        peers.push(peer);
    }
    let grown = settled().await.saturating_sub(before);
    let open = peers.iter().filter(|peer| !peer.seen().ended).count();
    eprintln!("{open} connections with a window full of requests each take {grown} KiB");
    assert_eq!(open as u64, CONNECTIONS, "{:?}", peers.first().map(Peer::seen));
    assert!(grown < CONNECTIONS * WINDOW_KIB + 24 * 1024, "{grown} KiB");
    honest.calls("/test/Ok", &[], 1, 1, Duration::ZERO).await;
    until("an answer for somebody else", || honest.seen().headers > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_filter_does_not_admit_holds_nothing_however_often_they_come() {
    let world = World::quarantining(|options| options.max_connections = 8).await;
    let flood = crowd(&world, conduct(50, Vec::new()));
    let refused = || {
        let records = world.records().all();
        records.iter().filter(|it| it.reason == Some(Reason::IdentityNotAdmitted)).count()
    };
    until("refusals", || refused() >= 100).await;
    for _ in 0..20 {
        world.call_anew().await.expect("room for those who are admitted");
    }
    drop(flood);
    let accepted = |it: &avouch_identity::ConnectionRecord| it.reason.is_none();
    assert!(
        world.records().all().iter().filter(|it| accepted(it)).all(|it| it.peer_id == Some(id("/client")))
    );
    assert_eq!(world.refused(ELSEWHERE), 0, "not for want of room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_lost_their_place_and_stay_do_not_add_up() {
    const FEW: usize = 10;
    let (world, _) = world(|options| {
        options.max_connections = FEW;
        // Whoever may take their time takes longer than this test.
        options.retirement_grace = 6 * TIMEOUT;
    })
    .await;
    let watch = frames::call(1, WATCH, &[]);
    let mut held = Vec::new();
    for round in 0..60 {
        let mut peer = world.peer().await;
        peer.send(&watch).await;
        held.push(peer);
        // Somebody else comes and goes, for whom one of the others has to go.
        if round >= FEW {
            world.call_anew().await.expect("room");
        }
    }
    // Sixteen may take their time; one that goes at once is gone a moment later.
    until("the end of the others", || world.records().open() <= FEW + 16).await;
    let alive = || held.iter().filter(|peer| !peer.seen().ended).count();
    until("the peers' word of it", || alive() <= FEW + 16).await;
}
