//! Clocks that are off, on either side: whose is off says so, and nobody spins.

use std::time::Duration;

use avouch_identity::spiffe::Reason;
use avouch_identity::{Identity, ServerOptions, Snapshot, Verdict, reason};
use avouch_time::clock::ManualClock;

use crate::support::{Ca, channel, check, id, now, serve};

const HOUR: Duration = Duration::from_secs(3600);

/// An identity that is certified for an hour from now, whose clock shows something else.
fn identity(ca: &Ca, path: &str, clock: &ManualClock) -> (avouch_identity::Publisher, Identity) {
    Identity::publisher_with_clock(Snapshot::new(ca.svid(&id(path), HOUR), ca.bundles()), clock.shared())
}

#[tokio::test]
async fn a_server_whose_clock_is_off_says_so_of_the_certificate_and_serves_once_it_is_right() {
    let ca = Ca::new();
    let clock = ManualClock::new(now());
    let (_server_publisher, server) = identity(&ca, "/server", &clock);
    let running = serve(server, ServerOptions::default()).await;
    for (shown, expected) in
        [(now() + 2 * HOUR, Reason::CertExpired), (now() - HOUR / 2, Reason::CertNotYetValid)]
    {
        clock.set(shown);
        let (_publisher, client) = ca.identity("/client");
        let status = check(&channel(&client, &running)).await.expect_err("by another clock");
        assert_eq!(
            reason(&status),
            Some(Reason::HandshakeRefused),
            "our own certificate is fine: {status:?}"
        );
        let record = running.records.wait(|record| record.reason == Some(expected)).await;
        assert!(record.detail.unwrap_or_default().contains("leaf certificate"));
    }
    clock.set(now());
    let (_publisher, client) = ca.identity("/client");
    check(&channel(&client, &running)).await.expect("the clock is right");
}

#[tokio::test]
async fn a_client_whose_clock_is_off_says_so_of_the_server_and_calls_once_it_is_right() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let running = serve(server, ServerOptions::default()).await;
    let clock = ManualClock::new(now());
    for (shown, expected) in
        [(now() + 2 * HOUR, Reason::CertExpired), (now() - HOUR / 2, Reason::CertNotYetValid)]
    {
        clock.set(shown);
        let (_publisher, client) = identity(&ca, "/client", &clock);
        let status = check(&channel(&client, &running)).await.expect_err("by another clock");
        assert_eq!(reason(&status), Some(expected), "{status:?}");
        assert!(status.message().contains("the server's certificate was refused"), "{status:?}");
    }
    clock.set(now());
    let (_publisher, client) = identity(&ca, "/client", &clock);
    check(&channel(&client, &running)).await.expect("the clock is right");
    let accepted = running.records.wait(|record| record.verdict == Verdict::Accepted).await;
    assert_eq!(accepted.peer_id, Some(id("/client")));
}
