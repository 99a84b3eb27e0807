//! Floods of small frames and records, and peers that do not read.

use std::time::Duration;

use avouch_attacker::floods::Peer;
use avouch_attacker::floods::frames::{self, kind};
use tokio::io::AsyncWriteExt;

use crate::world::{TIMEOUT, TestServer, World};

#[tokio::test]
async fn empty_data_without_end_ends_the_connection() {
    let server = TestServer::new(|_| {}).await;
    let mut peer = server.peer(true).await;
    let stream = peer.stream();
    peer.send(&frames::frame(kind::HEADERS, frames::END_HEADERS, stream, &frames::request("/test/Hang")))
        .await;
    let empty = frames::frame(kind::DATA, 0, stream, &[]);
    let sent = peer.repeat(&empty, 100_000, 100, Duration::ZERO).await;
    assert!(peer.outcome(TIMEOUT).await.ended && sent < 100_000, "{sent} frames");
}

#[tokio::test]
async fn who_never_reads_is_not_read_from_either() {
    let world = World::new(|_| {}).await;
    for flood in [frames::frame(kind::PING, 0, 0, &[7; 8]), frames::frame(kind::SETTINGS, 0, 0, &[])] {
        let mut peer = Peer::deaf(world.connect(true).await).await;
        // Until the buffers of both systems are full of answers; the server's own hold a few kilobytes.
        let sent = tokio::time::timeout(Duration::from_millis(1_500), async {
            while peer.send(&flood.repeat(1_000)).await {}
        });
        let _ = sent.await;
        assert!(peer.written < 64 * 1024 * 1024, "{} octets were taken", peer.written);
    }
    world.call_anew().await.expect("others are served");
}

#[tokio::test]
async fn key_updates_without_end_end_the_connection() {
    let world = World::new(|_| {}).await;
    let mut connection = world.connect(true).await;
    let mut updates = 0;
    for _ in 0..1_000 {
        if connection.get_mut().1.refresh_traffic_keys().is_err() || connection.flush().await.is_err() {
            break;
        }
        updates += 1;
        tokio::task::yield_now().await;
    }
    let mut peer = Peer::start(connection).await;
    assert!(peer.outcome(TIMEOUT).await.ended, "{updates} updates were taken");
    world.call_anew().await.expect("others are served");
}
