//! Peers that got in and abuse HTTP/2.

use std::sync::atomic::Ordering;
use std::time::Duration;

use avouch_attacker::floods::Seen;
use avouch_attacker::floods::frames::{self, kind};
use avouch_identity::spiffe::Reason;

use crate::support::Records;
use crate::world::{CHECK, TIMEOUT, TestServer, World};
use avouch_testkit::wait::until;

/// ENHANCE_YOUR_CALM
const CALM: u32 = 11;

/// Ended by HTTP/2's own count: of streams reset before they were accepted, of frames, of octets.
fn calmed(seen: &Seen) -> bool {
    seen.goaway.as_ref().is_some_and(|(code, _)| *code == CALM)
}

/// Ended by ours: of calls that were begun.
fn is_limited(records: &Records) -> bool {
    records.ends().iter().any(|end| end.reason == Reason::RateLimited)
}

#[tokio::test]
async fn streams_reset_before_they_are_accepted_end_the_connection_within_the_limit() {
    let world = World::new(|_| {}).await;
    let mut peer = world.peer().await;
    let sent = peer.rapid_reset(CHECK, 100_000, 1_000, None).await;
    let seen = peer.outcome(TIMEOUT).await;
    assert!(seen.ended && sent < 100_000, "{sent} streams, {seen:?}");
    assert!(calmed(&seen) || is_limited(world.records()), "{seen:?}");
    world.call_anew().await.expect("others are served");
}

#[tokio::test]
async fn as_many_abandoned_calls_as_allowed_are_borne_and_one_more_ends_the_connection() {
    let server = TestServer::new(|options| options.max_cancelled_calls = 100).await;
    let mut peer = server.peer(true).await;
    let working = || server.service.working.load(Ordering::SeqCst);
    for batch in [50, 50] {
        let streams: Vec<u32> = (0..batch).map(|_| peer.stream()).collect();
        let open: Vec<u8> = streams.iter().flat_map(|s| frames::call(*s, "/test/Hang", &[])).collect();
        peer.send(&open).await;
        until("work on the calls", || working() == streams.len()).await;
        let reset: Vec<u8> = streams.iter().flat_map(|s| frames::reset(*s)).collect();
        peer.send(&reset).await;
        until("the end of the work", || working() == 0).await;
    }
    peer.calls("/test/Ok", &[], 1, 1, Duration::ZERO).await;
    until("an answer", || peer.seen().headers == 1).await;
    assert!(server.records.ends().is_empty());
    // The one that was answered weighs nothing against a hundred.
    let stream = peer.stream();
    peer.send(&frames::call(stream, "/test/Hang", &[])).await;
    until("work on the call", || working() == 1).await;
    peer.send(&frames::reset(stream)).await;
    assert!(peer.outcome(TIMEOUT).await.ended);
    let end = server.records.wait_end(|_| true).await;
    assert_eq!(end.reason, Reason::RateLimited, "{end:?}");
    assert!(end.detail.contains("abandoned 101 calls and let 1 finish"), "{end:?}");
}

#[tokio::test]
async fn calls_reset_after_they_were_accepted_end_the_connection_and_their_work() {
    let server = TestServer::new(|_| {}).await;
    let mut peer = server.peer(true).await;
    let sent = peer.rapid_reset("/test/Hang", 100_000, 16, Some(Duration::from_millis(1))).await;
    let seen = peer.outcome(TIMEOUT).await;
    assert!(seen.ended && sent <= 2_048, "{sent} calls were begun, {seen:?}");
    until("the end of all work", || server.service.working.load(Ordering::SeqCst) == 0).await;
    assert!(calmed(&seen) || is_limited(&server.records), "{seen:?}");
}

#[tokio::test]
async fn calls_that_the_server_is_made_to_reset_end_the_connection_within_a_limit() {
    let server = TestServer::new(|_| {}).await;
    let mut peer = server.peer(true).await;
    let mut made = 0;
    // A window that grows by nothing is an error of the stream, which the server resets (CVE-2025-8671).
    while made < 20_000 {
        let stream = peer.stream();
        let trap = [frames::call(stream, "/test/Hang", &[]), frames::window_update(stream, 0)].concat();
        if !peer.send(&trap).await {
            break;
        }
        made += 1;
    }
    assert!(peer.outcome(TIMEOUT).await.ended && made < 20_000, "{made} streams");
    until("the end of all work", || server.service.working.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_header_block_that_never_ends_ends_the_connection() {
    let world = World::new(|_| {}).await;
    for fragment in [vec![], frames::literal("x", &"y".repeat(8_000))] {
        let mut peer = world.peer().await;
        let sent = peer.continuation_flood(&fragment, 10_000).await;
        let seen = peer.outcome(TIMEOUT).await;
        assert!(seen.ended && sent < 10_000, "{sent} frames, {seen:?}");
        assert!(seen.goaway.is_none_or(|(code, _)| code == CALM), "with {} octets", fragment.len());
    }
    world.call_anew().await.expect("others are served");
}

/// A call whose header list counts this many octets (RFC 9113 §6.5.2: with 32 for each field).
fn with_header_list(stream: u32, size: usize) -> Vec<u8> {
    let fixed: usize = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", CHECK),
        (":authority", "server.invalid"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .map(|(name, value)| name.len() + value.len() + 32)
    .sum();
    let filler = frames::literal("x", &"y".repeat(size - fixed - 33));
    let block = [frames::request(CHECK), filler].concat();
    let (first, rest) = block.split_at(block.len().min(16_000));
    let body = frames::frame(kind::DATA, frames::END_STREAM, stream, &[0; 5]);
    let mut call = frames::frame(kind::HEADERS, 0, stream, first);
    call.extend(frames::frame(kind::CONTINUATION, frames::END_HEADERS, stream, rest));
    call.extend(body);
    call
}

#[tokio::test]
async fn headers_below_the_limit_are_read_one_octet_more_is_refused_and_four_times_as_much_ends_it() {
    let world = World::new(|_| {}).await;
    let mut peer = world.peer().await;
    // The limit holds once the client has acknowledged it, which it does first of all.
    let stream = peer.stream();
    peer.send(&with_header_list(stream, 16 * 1024 - 1)).await;
    until("an answer and its trailers", || peer.seen().headers == 2).await;
    let stream = peer.stream();
    peer.send(&with_header_list(stream, 16 * 1024)).await;
    until("431 Request Header Fields Too Large", || peer.seen().headers == 3).await;
    assert!(!peer.seen().ended, "the connection goes on");
    let stream = peer.stream();
    peer.send(&with_header_list(stream, 80 * 1024)).await;
    assert!(peer.outcome(TIMEOUT).await.ended);
}

#[tokio::test]
async fn as_many_streams_as_allowed_are_worked_on_and_one_more_is_turned_away() {
    let server = TestServer::new(|options| options.max_concurrent_streams = 20).await;
    let mut peer = server.peer(true).await;
    peer.calls("/test/Hang", &[], 21, 21, Duration::ZERO).await;
    until("the refused stream", || peer.seen().resets > 0).await;
    assert_eq!(server.service.working.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn a_connect_call_holds_nothing_once_it_is_answered() {
    let server = TestServer::new(|_| {}).await;
    let mut peer = server.peer(true).await;
    let block =
        [frames::literal(":method", "CONNECT"), frames::literal(":authority", "a.invalid:1")].concat();
    for stream in (1..=101).step_by(2) {
        peer.send(&frames::frame(kind::HEADERS, frames::END_HEADERS, stream, &block)).await;
    }
    until("answers", || peer.seen().headers + peer.seen().resets >= 51 || peer.seen().ended).await;
    until("the end of all work", || server.service.working.load(Ordering::SeqCst) == 0).await;
}
