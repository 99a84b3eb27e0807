//! No connection outlives a certificate it was made with: by its dates, by a clock that jumps, and whatever the server does.

use std::time::Duration;

use avouch_identity::spiffe::Reason;
use avouch_identity::{Identity, Publisher, Retirement, Snapshot, Svid, reason};
use avouch_time::clock::ManualClock;
use tokio::time::Instant;

use crate::support::{Ca, id, leaf_params, now};
use crate::world::{DOWN, UNARY, World, call, read};

const HOUR: Duration = Duration::from_secs(3600);

/// An identity certified from an hour ago until `left` from now, that judges by `clock`.
fn identity(ca: &Ca, path: &str, left: Duration, clock: &ManualClock) -> (Publisher, Identity) {
    let (chain, key) = ca.sign(&leaf_params(id(path).as_str(), now() - HOUR..now() + left));
    let svid = Svid::new(chain, &key).expect("an SVID");
    Identity::publisher_with_clock(Snapshot::new(svid, ca.bundles()), clock.shared())
}

/// A world in which each side has its own clock, and certificates that last for so long.
async fn world(server: Duration, client: Duration) -> (World, ManualClock) {
    let ca = Ca::new();
    // Half an hour behind: the server does not see any of the ends that are tested here.
    let server_clock = ManualClock::new(now() - HOUR / 2);
    let clock = ManualClock::new(now());
    let server = identity(&ca, "/server", server, &server_clock);
    let client = identity(&ca, "/client", client, &clock);
    (World::with(ca, server, client).await, clock)
}

#[tokio::test]
async fn a_clock_that_jumps_past_the_end_of_a_certificate_ends_streams_and_calls_at_once_and_says_whose() {
    for (server, client, whose) in [
        (
            2 * HOUR,
            HOUR,
            "our own certificate with which the connection was made, of spiffe://market.example/client",
        ),
        (
            HOUR,
            2 * HOUR,
            "the server's certificate with which the connection was made, of spiffe://market.example/server",
        ),
    ] {
        let (world, clock) = world(server, client).await;
        let channel = world.channel(|builder| builder.default_timeout(None));
        let response = call(&channel, DOWN).await.expect("a stream");
        let retirement = response.extensions().get::<Retirement>().expect("of a stream").clone();
        let mut stream = response.into_body();
        let unary = call(&channel, UNARY);
        let jump = async {
            read(&mut stream, Duration::from_millis(100)).await.expect("it goes on");
            clock.advance(HOUR + HOUR / 2);
            let began = Instant::now();
            let status = read(&mut stream, Duration::from_secs(10)).await.expect_err("it ends");
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            status
        };
        let (unary, status) = tokio::join!(unary, jump);
        for status in [unary.expect_err("it ends"), status] {
            assert_eq!(reason(&status), Some(Reason::CertExpired), "{status:?}");
            let address = world.url.trim_start_matches("https://");
            assert!(status.message().contains(whose) && status.message().contains(address), "{status:?}");
            assert!(status.message().contains("ended 30 min ago by our clock"), "{status:?}");
        }
        tokio::time::timeout(Duration::from_secs(1), retirement.retired()).await.expect("it is withdrawn");
        // By the clock that is set right again, what there is serves.
        clock.set(now());
        let mut stream = call(&channel, DOWN).await.expect("a stream").into_body();
        read(&mut stream, Duration::from_millis(100)).await.expect("it goes on");
    }
}

#[tokio::test]
async fn a_clock_that_is_put_back_or_jumps_within_the_certificates_ends_nothing() {
    let (world, clock) = world(2 * HOUR, 2 * HOUR).await;
    let channel = world.channel(|builder| builder);
    let mut stream = call(&channel, DOWN).await.expect("a stream").into_body();
    for shown in [now() + HOUR, now() - 100 * HOUR, now()] {
        clock.set(shown);
        // Longer than it takes to be seen.
        let frames = read(&mut stream, Duration::from_millis(1500)).await.expect("it goes on");
        assert!(frames > 10, "{frames}");
    }
    assert_eq!(world.records.all().len(), 1);
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate_even_if_its_server_would_let_it_go_on() {
    let (world, _clock) = world(HOUR, Duration::from_secs(2)).await;
    let channel = world.channel(|builder| builder);
    let mut stream = call(&channel, DOWN).await.expect("a stream").into_body();
    let began = Instant::now();
    let status = read(&mut stream, Duration::from_secs(10)).await.expect_err("it ends with the certificate");
    assert_eq!(reason(&status), Some(Reason::CertExpired), "{status:?}");
    assert!(status.message().contains("our own certificate"), "{status:?}");
    assert!((1..=3).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}
