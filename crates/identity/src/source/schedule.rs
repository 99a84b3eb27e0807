//! When to renew.
//!
//! Counted by the monotonic clock from receipt, at half of what is left to `not_after`, ± 10 %. The wall clock only
//! hastens it: after a suspend or a jump forward a renewal is due at once rather than late. A jump backward changes
//! nothing until the next certificate.

use std::time::{Duration, SystemTime};

use avouch_spiffe::clock::Clock;

use crate::jitter;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
const SHORTEST_RETRY: Duration = Duration::from_millis(200);
/// Once the certificate has ended, nothing works until there is a fresh one: an issuer that is back is to be noticed.
const LONGEST_RETRY_WITHOUT: Duration = Duration::from_secs(5);
/// How often the wall clock is looked at while waiting.
const LOOK: Duration = Duration::from_secs(15);

/// How long to wait before renewing a certificate that has just been received or loaded.
pub(super) fn renewal_delay(not_after: SystemTime, now: SystemTime) -> Duration {
    jitter::around(not_after.duration_since(now).unwrap_or_default() / 2, 0.1)
}

/// How long to wait after the `failures`-th failure in a row: doubling, but never beyond a quarter of what is left, and
/// never beyond five seconds when nothing is.
pub(super) fn retry_delay(failures: u32, not_after: SystemTime, now: SystemTime) -> Duration {
    let backoff = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST_RETRY);
    let left = not_after.duration_since(now).unwrap_or_default();
    let ceiling = if left.is_zero() { LONGEST_RETRY_WITHOUT } else { left / 4 };
    jitter::around(backoff.min(ceiling), 0.1).max(SHORTEST_RETRY)
}

/// Waits, by the monotonic clock; ends early when the wall clock says that the time has come.
pub(super) async fn wait(delay: Duration, clock: &dyn Clock) {
    wait_looking(delay, clock, LOOK).await;
}

async fn wait_looking(delay: Duration, clock: &dyn Clock, look: Duration) {
    let wall_due = clock.now() + delay;
    let due = tokio::time::Instant::now() + delay;
    loop {
        let left = due.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() || clock.now() >= wall_due {
            return;
        }
        tokio::time::sleep(left.min(look)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_spiffe::clock::ManualClock;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn renewal_is_due_at_half_of_what_is_left_give_or_take_a_tenth() {
        for _ in 0..100 {
            let delay = renewal_delay(at(1020), at(1000));
            assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn a_certificate_backdated_past_its_half_life_is_not_renewed_at_once() {
        assert!(renewal_delay(at(1020), at(1000)) >= Duration::from_secs(9));
    }

    #[test]
    fn an_expired_certificate_is_renewed_at_once() {
        assert_eq!(renewal_delay(at(1000), at(1001)), Duration::ZERO);
    }

    #[test]
    fn retries_back_off_but_never_beyond_a_quarter_of_what_is_left() {
        assert!(retry_delay(1, at(5000), at(1000)) <= Duration::from_millis(550));
        assert!(retry_delay(5, at(5000), at(1000)) >= Duration::from_secs(7));
        assert!(retry_delay(20, at(1008), at(1000)) <= Duration::from_millis(2200));
        assert!(retry_delay(20, at(9000), at(1000)) >= Duration::from_secs(27));
        assert!(retry_delay(1, at(1000), at(1000)) >= SHORTEST_RETRY);
    }

    #[test]
    fn without_a_valid_certificate_retries_stay_frequent_however_many_have_failed() {
        for failures in 1..100 {
            assert!(retry_delay(failures, at(1000), at(2000)) <= Duration::from_millis(5500), "{failures}");
        }
    }

    #[tokio::test]
    async fn a_jump_of_the_wall_clock_ends_the_wait() {
        let clock = ManualClock::new(at(1000));
        let look = Duration::from_millis(5);
        let waiting = wait_looking(Duration::from_secs(3600), &clock, look);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
        clock.set(at(1000 + 7200));
        let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert!(ended.is_ok(), "the wall clock is not looked at");
    }

    #[tokio::test]
    async fn a_wall_clock_that_stands_still_does_not_stop_the_wait_from_ending() {
        let clock = ManualClock::new(at(1000));
        let began = tokio::time::Instant::now();
        wait(Duration::from_millis(50), &clock).await;
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}
