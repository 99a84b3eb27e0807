//! A listener that takes callers without a certificate, as the issuer's does: they come last in everything.

use std::time::Duration;

use avouch_attacker::floods::Peer;
use avouch_attacker::floods::frames::{self, kind};
use avouch_attacker::tls::{self, Approach};
use avouch_identity::spiffe::Reason;
use avouch_testkit::wait::until;
use tokio::time::Instant;

use crate::world::{CHECK, ELSEWHERE, TIMEOUT, TestServer, World, connect};

#[tokio::test]
async fn as_many_without_identity_as_allowed_are_borne_and_one_more_ends_the_oldest() {
    let world = World::open(|options| options.max_unauthenticated_connections = 4).await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(Peer::start(world.connect(false).await).await);
    }
    until("four connections", || world.records().all().len() == 4).await;
    assert!(world.records().ends().is_empty());
    peers.push(Peer::start(world.connect(false).await).await);
    assert!(peers[0].outcome(TIMEOUT).await.ended);
    let end = world.records().wait_end(|_| true).await;
    assert_eq!((end.reason, end.peer_id), (Reason::HandshakeLimit, None));
    assert!(!peers[4].seen().ended);
    // An honest one from elsewhere comes in at their expense, one with an identity without.
    let approach = Approach { from: Some([127, 0, 0, 1].into()), ..Approach::showing(None) };
    let tcp = tls::socket(world.target(), approach.from).await.unwrap();
    let mut honest = Peer::start(tls::handshake(tcp, approach).await.unwrap()).await;
    assert!(peers[1].outcome(TIMEOUT).await.ended);
    honest.calls(CHECK, &[], 1, 1, Duration::ZERO).await;
    until("an answer", || honest.seen().headers > 0).await;
    world.call_anew().await.expect("an identity has its own room");
    assert!(!honest.seen().ended && !peers[2].seen().ended);
}

#[tokio::test]
async fn those_without_identity_never_take_more_than_half_of_the_room() {
    let world = World::open(|options| options.max_connections = 8).await;
    let mut peers = Vec::new();
    for _ in 0..32 {
        peers.push(Peer::start(world.connect(false).await).await);
    }
    until("the half of eight", || world.records().ends().len() == 32 - 4).await;
    for _ in 0..4 {
        world.call_anew().await.expect("the other half is for those with an identity");
    }
}

#[tokio::test]
async fn without_identity_a_connection_is_asked_to_go_and_then_gone() {
    let life = Duration::from_millis(600);
    let world = World::open(|options| options.unauthenticated_connection_age = life).await;
    let began = Instant::now();
    let mut peer = Peer::start(world.connect(false).await).await;
    // It keeps a call open and pays no attention to the goodbye.
    peer.send(&frames::frame(kind::HEADERS, frames::END_HEADERS, 1, &frames::request(CHECK))).await;
    until("the goodbye", || peer.seen().goaway.is_some()).await;
    assert!(began.elapsed() >= life / 2 - Duration::from_millis(50), "{:?}", began.elapsed());
    assert!(peer.outcome(TIMEOUT).await.ended);
    assert!(began.elapsed() < TIMEOUT / 2);
    assert!(world.records().ends().is_empty(), "it is an ordinary end");
}

#[tokio::test]
async fn without_identity_as_many_bytes_as_allowed_may_be_sent_and_one_more_ends_it() {
    let world = World::open(|options| options.max_unauthenticated_bytes = 4_096).await;
    let mut peer = Peer::start(world.connect(false).await).await;
    let ping = frames::frame(kind::PING, 0, 0, &[7; 8]);
    while peer.written + 17 <= 4_096 {
        peer.send(&ping).await;
    }
    let unknown = u64::from(4_096 - u16::try_from(peer.written).unwrap());
    // A frame of unknown type, complete or not: exactly up to the limit.
    peer.send(&vec![0; usize::try_from(unknown).unwrap()]).await;
    assert_eq!(peer.written, 4_096);
    until("all pongs", || peer.seen().acks >= 200).await;
    assert!(!peer.seen().ended && world.records().ends().is_empty());
    peer.send(&[0]).await;
    assert!(peer.outcome(TIMEOUT).await.ended);
    let end = world.records().wait_end(|_| true).await;
    assert_eq!(end.reason, Reason::RateLimited);
    assert!(end.detail.contains("bytes"), "{end:?}");
}

#[tokio::test]
async fn sixteen_refused_calls_are_answered_and_the_seventeenth_ends_a_connection_without_identity() {
    let server = TestServer::new(|_| {}).await;
    let mut peer = server.peer(false).await;
    peer.calls("/test/Refuse", &[], 16, 1, Duration::from_millis(2)).await;
    until("sixteen answers", || peer.seen().headers == 16).await;
    assert!(!peer.seen().ended && server.records.ends().is_empty());
    peer.calls("/test/Refuse", &[], 1, 1, Duration::ZERO).await;
    assert!(peer.outcome(TIMEOUT).await.ended);
    let end = server.records.wait_end(|_| true).await;
    assert_eq!((end.reason, end.peer_addr.ip()), (Reason::RateLimited, ELSEWHERE));
}

#[tokio::test]
async fn with_an_identity_a_thousand_refused_calls_are_a_thousand_answers() {
    let server = TestServer::new(|_| {}).await;
    let mut peer = Peer::start(connect(server.target, Some(&server.stolen)).await).await;
    for calls in (50..=1_000).step_by(50) {
        peer.calls("/test/Refuse", &[], 50, 50, Duration::ZERO).await;
        until("the answers", || peer.seen().headers == calls).await;
    }
    assert!(server.records.ends().is_empty());
}

#[tokio::test]
async fn without_identity_sixteen_calls_at_once_are_taken_and_the_seventeenth_is_turned_away() {
    let server = TestServer::new(|_| {}).await;
    let mut peer = server.peer(false).await;
    peer.calls("/test/Hang", &[], 17, 17, Duration::ZERO).await;
    until("the refused stream", || peer.seen().resets > 0).await;
    assert_eq!(server.service.working.load(std::sync::atomic::Ordering::SeqCst), 16);
}
