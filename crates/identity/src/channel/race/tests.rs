//! The race by a paused clock, with attempts that do nothing but wait; `connect/tests.rs` runs it against servers.

use std::time::Duration;

use avouch_spiffe::Reason;
use tokio::time::sleep;

use super::super::progress::Step;
use super::*;

/// A side that connects without a certificate, for tests of what comes after.
pub(crate) fn ours() -> Arc<OurSide> {
    Arc::new(OurSide {
        target: "ledger.test:7001".to_owned(),
        expect: None,
        svid: None,
        bundle_sequence: None,
        clock: avouch_time::clock::system(),
        difference: None,
    })
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 7001))
}

/// What an address does.
#[derive(Clone, Copy)]
enum Does {
    /// Is good after so many milliseconds.
    Good(u64),
    /// TCP after so many milliseconds, and nothing more.
    Mute(u64),
    /// TCP, TLS, then good, so many milliseconds for each.
    Slow(u64),
    /// Fails after so many milliseconds.
    Fails(u64, Step, Reason),
}

const TIMEOUT: Duration = Duration::from_secs(3);
const MILLI: Duration = Duration::from_millis(1);

/// Runs the race of these addresses, 1 and up. Says how long it took and who was begun.
async fn run(
    bad: &BadAddresses,
    does: &[Does],
    timeout: Duration,
) -> (Result<u8, ConnectFailure>, Duration, Vec<u8>) {
    let (ours, begun) = (ours(), std::sync::Mutex::new(Vec::new()));
    let began = Instant::now();
    let limit = Limit { timeout, until: began + timeout };
    let addresses = (1..).take(does.len()).map(address).collect();
    let outcome = race(&ours, addresses, limit, bad, |address| {
        let last = address.to_string().as_bytes()[8] - b'0';
        begun.lock().unwrap().push(last);
        let attempt = Arc::new(ConnectAttempt::new(ours.clone(), Some(address)));
        let own = attempt.clone();
        let does = does[usize::from(last) - 1];
        RunningAttempt::new(attempt, async move {
            match does {
                Does::Good(after) => sleep(MILLI * u32::try_from(after).unwrap()).await,
                Does::Mute(after) => {
                    sleep(Duration::from_millis(after)).await;
                    own.connected((None, Some(address)));
                    std::future::pending().await
                }
                Does::Slow(each) => {
                    sleep(Duration::from_millis(each)).await;
                    own.connected((None, Some(address)));
                    sleep(Duration::from_millis(2 * each)).await;
                }
                Does::Fails(after, step, reason) => {
                    sleep(Duration::from_millis(after)).await;
                    let failure = own.failure(step, reason, "no good");
                    return Err(if step == Step::Verify { failure.found() } else { failure });
                }
            }
            Ok(last)
        })
    });
    let outcome = outcome.await;
    let took = began.elapsed();
    (outcome, took, begun.into_inner().unwrap())
}

const REFUSES: Does = Does::Fails(1, Step::Connect, Reason::PeerConnectionClosed);
const CLOSES: Does = Does::Fails(2, Step::ServerHello, Reason::PeerConnectionClosed);
const IMPOSTOR: Does = Does::Fails(5, Step::Verify, Reason::ServerIdentityMismatch);

#[tokio::test(start_paused = true)]
async fn an_address_that_is_silent_after_tcp_costs_a_moment_and_the_next_connection_nothing() {
    let bad = BadAddresses::default();
    let does = [Does::Mute(1), Does::Good(10)];
    let (outcome, took, begun) = run(&bad, &does, TIMEOUT).await;
    assert_eq!((outcome.unwrap(), begun), (2, vec![1, 2]));
    assert!(took < DELAY + 20 * MILLI, "{took:?}");
    let (outcome, took, begun) = run(&bad, &does, TIMEOUT).await;
    assert_eq!((outcome.unwrap(), begun), (2, vec![2]), "the bad one is remembered");
    assert!(took < 15 * MILLI, "{took:?}");
    assert!(bad.said().unwrap().contains("127.0.0.1:7001: connected, and then not a word of TLS"));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_fails_is_passed_over_at_once() {
    for fails in [REFUSES, CLOSES, IMPOSTOR] {
        let (outcome, took, _) = run(&BadAddresses::default(), &[fails, fails, Does::Good(1)], TIMEOUT).await;
        assert!(outcome.unwrap() == 3 && took < 15 * MILLI, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_moves_is_given_its_time() {
    // A way of 200 ms: slower than the delay as a whole, never between two steps.
    let (outcome, took, begun) =
        run(&BadAddresses::default(), &[Does::Slow(120), Does::Good(1)], TIMEOUT).await;
    assert_eq!((outcome.unwrap(), begun), (1, vec![1]), "nobody else is bothered");
    assert!(took <= 362 * MILLI, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_comes_second_is_not_held_against_its_address() {
    let bad = BadAddresses::default();
    let (outcome, ..) = run(&bad, &[Does::Good(260), Does::Good(100)], TIMEOUT).await;
    assert_eq!(outcome.unwrap(), 1);
    assert_eq!(bad.said(), None);
}

#[tokio::test(start_paused = true)]
async fn with_little_time_every_address_has_its_part_of_it() {
    let does = [Does::Mute(1), Does::Mute(1), Does::Mute(1), Does::Good(10)];
    let (outcome, took, _) = run(&BadAddresses::default(), &does, 200 * MILLI).await;
    assert_eq!(outcome.unwrap(), 4);
    assert!(took < 200 * MILLI, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn when_none_is_good_each_was_tried_and_is_named_by_its_address() {
    let bad = BadAddresses::default();
    for _ in 0..2 {
        let (outcome, took, begun) = run(&bad, &[CLOSES, Does::Mute(1), REFUSES], TIMEOUT).await;
        let failure = outcome.unwrap_err();
        assert_eq!(took, TIMEOUT, "the silent one has all the time");
        assert_eq!(begun.len(), 3, "bad ones are tried last, and not never: {begun:?}");
        let message = failure.to_status().message().to_owned();
        for part in [
            "127.0.0.1:7001: no good",
            "127.0.0.2:7001: HANDSHAKE_TIMEOUT: no accepted connection within 3s: connected, and then",
            "127.0.0.3:7001: no good",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_weightiest_failure_is_reported_whatever_its_place() {
    let foreign = Does::Fails(1, Step::ServerHello, Reason::NotTls);
    let silent = Does::Mute(4000);
    // The lightest first.
    let weights = [
        (silent, Reason::HandshakeTimeout, Step::Connect),
        (REFUSES, Reason::PeerConnectionClosed, Step::Connect),
        (CLOSES, Reason::PeerConnectionClosed, Step::ServerHello),
        (foreign, Reason::NotTls, Step::ServerHello),
        (IMPOSTOR, Reason::ServerIdentityMismatch, Step::Verify),
    ];
    for (at, (heavy, reason, step)) in weights.iter().enumerate() {
        for (light, other, _) in &weights[..at] {
            for does in [[*heavy, *light], [*light, *heavy]] {
                let failure = run(&BadAddresses::default(), &does, TIMEOUT).await.0.unwrap_err();
                assert_eq!((failure.reason, failure.step), (*reason, *step));
                let status = failure.to_status();
                assert_eq!(crate::status::reason(&status), Some(*reason));
                let message = status.message();
                assert!(
                    message.contains("127.0.0.1:7001: ") && message.contains("127.0.0.2:7001: "),
                    "{message}"
                );
                // The other one may come back.
                assert_eq!(failure.is_retryable(), other.retryable() || reason.retryable(), "{message}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_with_a_thousand_addresses_costs_no_thousand_attempts_and_fills_no_message() {
    let ours = ours();
    let bad = BadAddresses::default();
    let all: Vec<_> = (0..1000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            SocketAddr::from(([127, 1, high, low], 1))
        })
        .collect();
    let tried = std::sync::Mutex::new(std::collections::BTreeSet::new());
    for round in 1..=3 {
        let limit = Limit { timeout: TIMEOUT, until: Instant::now() + TIMEOUT };
        let outcome = race::<()>(&ours, all.clone(), limit, &bad, |address| {
            tried.lock().unwrap().insert(address);
            let attempt = Arc::new(ConnectAttempt::new(ours.clone(), Some(address)));
            let failure = attempt.failure(Step::Connect, Reason::PeerConnectionClosed, "x".repeat(10_000));
            RunningAttempt::new(attempt, async { Err(failure) })
        });
        let failure = outcome.await.unwrap_err();
        assert_eq!(tried.lock().unwrap().len(), round * MOST_TRIED, "the others have their turn");
        let others = failure.particulars().len() - failure.detail.len();
        assert!(others < 1000, "{others} bytes");
        assert!(failure.to_status().message().contains("; and 996 more addresses"));
    }
}

#[tokio::test]
async fn a_name_without_addresses_is_no_connection() {
    let (outcome, ..) = run(&BadAddresses::default(), &[], TIMEOUT).await;
    let failure = outcome.unwrap_err();
    assert_eq!((failure.step, failure.reason), (Step::Resolve, Reason::PeerConnectionClosed));
}
