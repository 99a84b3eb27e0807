//! Before anybody is known: sockets, ClientHellos, the preface.

use std::time::Duration;

use avouch_attacker::floods::frames::PREFACE;
use avouch_attacker::floods::sockets::{HalfOpen, drip, hello_of};
use avouch_attacker::forge::Credentials;
use avouch_attacker::tls::{self, Approach};
use avouch_identity::reason;
use avouch_identity::spiffe::Reason;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{ca_params, channel, check, id, leaf_params, year};
use crate::world::{ELSEWHERE, TIMEOUT, World};
use avouch_testkit::wait::until;

/// One is begun at most this often.
const PACE: Duration = Duration::from_micros(200);
/// Below the rate that one network is allowed, which the honest share here.
const SLOW: Duration = Duration::from_micros(700);

#[tokio::test]
async fn two_thousand_half_open_handshakes_from_elsewhere_keep_nobody_out() {
    let world = World::new(|_| {}).await;
    let flood = HalfOpen::keep(world.target(), Some(ELSEWHERE), 2_000, Vec::new(), PACE);
    until("2,000 half-open handshakes", || flood.begun() >= 2_000).await;
    for call in 0..50 {
        world.call_anew().await.unwrap_or_else(|status| panic!("call {call}: {status}"));
    }
    assert!(world.refused(ELSEWHERE) >= 2_000 - 1_024, "the flood's own oldest make room");
    assert_eq!(world.refused([127, 0, 0, 1].into()), 0);
}

#[tokio::test]
async fn two_thousand_half_open_handshakes_from_ones_own_address_keep_nobody_out() {
    let world = World::new(|_| {}).await;
    let flood = HalfOpen::keep(world.target(), None, 2_000, hello_of(2_000), SLOW);
    until("2,000 half-open handshakes", || flood.begun() >= 2_000).await;
    for call in 0..50 {
        world.call_anew().await.unwrap_or_else(|status| panic!("call {call}: {status}"));
    }
}

#[tokio::test]
async fn as_many_handshakes_as_allowed_are_borne_and_one_more_ends_the_oldest() {
    let world = World::new(|options| options.max_handshakes = 8).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(tls::socket(world.target(), Some(ELSEWHERE)).await.unwrap());
    }
    // Served in the order of arrival: when this one has failed, all the others are in their places.
    plaintext(&world, ELSEWHERE).await;
    until("room for the ninth", || world.refused(ELSEWHERE) == 1).await;
    let oldest = silent[0].local_addr().unwrap();
    let record = world.records().wait(|record| record.reason == Some(Reason::HandshakeLimit)).await;
    assert_eq!(record.peer_addr, oldest, "{record:?}");
    assert_eq!(silent[0].read(&mut [0; 1]).await.unwrap_or(0), 0, "it is closed");
    let mut ninth = tls::socket(world.target(), Some(ELSEWHERE)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), ninth.read(&mut [0; 1])).await.is_err());
}

/// What is no TLS is refused at once, and lingers in its place.
async fn plaintext(world: &World, from: std::net::IpAddr) {
    let mut tcp = tls::socket(world.target(), Some(from)).await.unwrap();
    let local = tcp.local_addr().unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    world.records().wait(|record| record.peer_addr == local).await;
    drop(tcp);
}

#[tokio::test]
async fn a_network_begins_as_many_handshakes_as_allowed_and_one_more_costs_no_key_exchange() {
    let world = World::new(|options| options.max_handshake_rate = 2).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(tls::socket(world.target(), Some(ELSEWHERE)).await.unwrap());
    }
    let record = world.records().wait(|record| record.peer_addr.ip() == ELSEWHERE).await;
    assert_eq!(record.reason, Some(Reason::HandshakeLimit));
    assert_eq!(record.peer_addr, sockets[2].local_addr().unwrap());
    assert!(record.detail.unwrap().contains("2 handshakes a second from 127.0.0.2"));
    world.call_anew().await.expect("another network has its own rate");
}

#[tokio::test]
async fn as_many_connections_as_allowed_are_open_and_one_more_of_the_same_identity_is_refused_until_one_ends()
{
    let world = World::new(|options| options.max_connections = 2).await;
    world.call_anew().await.expect("room");
    let kept = channel(&world.client, &world.running);
    check(&kept).await.expect("room");
    let second = channel(&world.client, &world.running);
    check(&second).await.expect("room");
    let third = channel(&world.client, &world.running);
    let status = check(&third).await.expect_err("no room for a third");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert_eq!(reason(&status), Some(Reason::HandshakeLimit), "{status:?}");
    assert!(status.message().contains("spiffe://market.example/client holds 2 of them"), "{status:?}");
    let record = world.records().wait(|record| record.reason.is_some()).await;
    assert_eq!(record.reason, Some(Reason::HandshakeLimit));
    assert_eq!(record.peer_id, Some(id("/client")));
    assert!(record.detail.unwrap().starts_with("2 of 2 connections are in use"));
    drop(second);
    let deadline = Instant::now() + TIMEOUT;
    while let Err(status) = check(&third).await {
        assert!(Instant::now() < deadline, "{status:?}");
    }
    check(&kept).await.expect("whoever was there first stays");
}

#[tokio::test]
async fn a_hello_in_single_octets_and_one_that_never_ends_are_over_with_the_handshakes_time() {
    let world = World::new(|options| options.handshake_timeout = Duration::from_millis(300)).await;
    let began = Instant::now();
    let dripping = tls::socket(world.target(), Some(ELSEWHERE)).await.unwrap();
    let said = drip(dripping, &[hello_of(16_000), vec![0; 10_000]].concat(), Duration::from_millis(10)).await;
    assert!((2..100).contains(&said) && began.elapsed() < TIMEOUT, "{said} octets");
    let record = world.records().wait(|record| record.peer_addr.ip() == ELSEWHERE).await;
    assert_eq!(record.reason, Some(Reason::HandshakeTimeout));
}

#[tokio::test]
async fn a_huge_hello_is_refused_before_it_is_there() {
    let world = World::new(|_| {}).await;
    let mut tcp = tls::socket(world.target(), Some(ELSEWHERE)).await.unwrap();
    // A handshake message of 16 MiB in records of 16 KiB: its length alone is enough.
    let record = [&[22, 3, 1, 0x40, 0][..], &[1, 0xff, 0xff, 0xff], &[0; 0x4000 - 4]].concat();
    let _ = tcp.write_all(&record).await;
    let record = world.records().wait(|record| record.peer_addr.ip() == ELSEWHERE).await;
    assert!(record.handshake < Duration::from_secs(2), "{record:?}");
}

async fn ends_within(mut stream: impl AsyncReadExt + Unpin, limit: Duration) -> bool {
    let end = async { while !matches!(stream.read(&mut [0; 256]).await, Ok(0) | Err(_)) {} };
    tokio::time::timeout(limit, end).await.is_ok()
}

#[tokio::test]
async fn a_preface_has_the_time_of_a_handshake_and_no_more() {
    let world = World::new(|options| options.handshake_timeout = Duration::from_millis(400)).await;
    // Nothing at all, and all but one octet.
    for said in [0, PREFACE.len() - 1] {
        let mut slow = world.connect(true).await;
        let local = slow.get_ref().0.local_addr().unwrap();
        slow.write_all(&PREFACE[..said]).await.unwrap();
        slow.flush().await.unwrap();
        assert!(ends_within(slow, TIMEOUT).await, "{said} octets of the preface hold a connection");
        let end = world.records().wait_end(|end| end.peer_addr == local).await;
        assert_eq!(end.reason, Reason::HandshakeTimeout, "{end:?}");
        assert_eq!(end.peer_id.unwrap().as_str(), "spiffe://market.example/stolen");
    }
    // All of it in time: from then on it is HTTP/2's business.
    let mut whole = world.connect(true).await;
    whole.write_all(PREFACE).await.unwrap();
    whole.flush().await.unwrap();
    assert!(!ends_within(whole, Duration::from_millis(800)).await);
    assert_eq!(world.records().ends().len(), 2);
}

#[tokio::test]
async fn a_preface_in_single_octets_is_over_with_its_time() {
    let world = World::new(|options| options.handshake_timeout = Duration::from_millis(400)).await;
    let mut slow = world.connect(true).await;
    for octet in &PREFACE[..23] {
        let _ = slow.write_all(std::slice::from_ref(octet)).await;
        let _ = slow.flush().await;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(ends_within(slow, TIMEOUT).await);
    assert_eq!(world.records().ends()[0].reason, Reason::HandshakeTimeout);
}

#[tokio::test]
async fn who_was_refused_and_does_not_go_is_bounded_with_the_handshakes() {
    let world = World::new(|options| {
        options.max_handshakes = 4;
        options.linger = Duration::from_secs(600);
    })
    .await;
    let mut lingering: Vec<TcpStream> = Vec::new();
    for _ in 0..32 {
        let mut tcp = tls::socket(world.target(), Some(ELSEWHERE)).await.unwrap();
        let local = tcp.local_addr().unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        world.records().wait(|record| record.peer_addr == local).await;
        lingering.push(tcp);
    }
    for tcp in lingering.drain(..28) {
        assert!(ends_within(tcp, TIMEOUT).await, "one of the oldest is still there");
    }
    world.call_anew().await.expect("room for others");
}

/// A leaf and authorities that all bear the root's name, so that each might have signed each.
fn maze(authorities: usize) -> Credentials {
    let params = || ca_params("test root", year());
    let signer = Issuer::new(params(), KeyPair::generate().unwrap());
    let signed =
        |params: CertificateParams, key: &KeyPair| params.signed_by(key, &signer).unwrap().der().clone();
    let key = KeyPair::generate().unwrap();
    let mut chain = vec![signed(leaf_params("spiffe://market.example/client", year()), &key)];
    for _ in 0..authorities {
        chain.push(signed(params(), &KeyPair::generate().unwrap()));
    }
    Credentials { chain, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
}

#[tokio::test]
async fn authorities_of_one_name_are_not_tried_in_every_order() {
    let world = World::new(|_| {}).await;
    for (authorities, expected) in
        [(2, Reason::CertSignatureInvalid), (3, Reason::CertChainTooDeep), (4, Reason::CertChainTooDeep)]
    {
        let maze = maze(authorities);
        let tcp = tls::socket(world.target(), Some(ELSEWHERE)).await.unwrap();
        let local = tcp.local_addr().unwrap();
        let _ = tls::handshake(tcp, Approach::showing(Some(&maze))).await;
        let record = world.records().wait(|record| record.peer_addr == local).await;
        assert_eq!(record.reason, Some(expected), "{authorities} authorities: {record:?}");
    }
}
