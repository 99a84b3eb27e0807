//! When a certificate is renewed, and when a renewal that failed is tried again: of workloads, and of the issuer.
//!
//! A renewal is due at half of what is left to the end of the certificate, ± 10 %, so that certificates issued together
//! are not renewed together. The time is counted by the monotonic clock from receipt. The wall clock only hastens it:
//! after a suspend or a jump forward a renewal is due at once rather than late. A jump backward changes nothing until
//! the next certificate.

use std::time::{Duration, SystemTime};

use avouch_time::clock::SharedClock;
use tokio::time::Instant;

use crate::clock_watch::ClockWatch;
use crate::jitter;

/// The share by which the first attempt varies in either direction.
const JITTER: f64 = 0.1;

/// The schedule of renewals: the first attempt is at half of what is left for everybody, these are the retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenewalSchedule {
    /// The delay after a first failure. It doubles with each further one.
    pub first_retry: Duration,
    /// The longest delay.
    pub longest_retry: Duration,
    /// The longest delay once the certificate has ended: nothing works until there is a fresh one.
    pub longest_retry_expired: Duration,
    /// The shortest delay, however little is left.
    pub shortest_retry: Duration,
    /// The share by which these delays vary in either direction, from 0 to 1.
    pub jitter: f64,
}

impl RenewalSchedule {
    /// The delay before the next attempt to renew a certificate, after `failures` failures in a row. Without any: half
    /// of what is left. Else never beyond a quarter of what is left, as long as something is.
    #[must_use]
    pub fn delay(&self, failures: u32, not_after: SystemTime, now: SystemTime) -> Duration {
        let left = not_after.duration_since(now).unwrap_or_default();
        let Some(doublings) = failures.checked_sub(1) else { return jitter::around(left / 2, JITTER) };
        // Eight doublings are far beyond every longest delay, and more would overflow.
        let backoff = self.first_retry.saturating_mul(1 << doublings.min(8)).min(self.longest_retry);
        let ceiling = if left.is_zero() { self.longest_retry_expired } else { left / 4 };
        jitter::around(backoff.min(ceiling), self.jitter).max(self.shortest_retry)
    }

    /// Waits for [`RenewalSchedule::delay`] by the monotonic clock, or until the wall clock has jumped to or past the
    /// time that it showed then plus the delay, whichever comes first.
    pub async fn wait(&self, failures: u32, not_after: SystemTime, clock: &SharedClock) {
        // Watched before the delay is computed, which may take a while (the first random number of a process does): a
        // jump in between would be no jump for a watch that begins after it, and the renewal late.
        let mut watch = ClockWatch::new(clock.clone());
        let now = clock.now();
        let delay = self.delay(failures, not_after, now);
        let (wall_due, mut due) = (now + delay, Instant::now() + delay);
        loop {
            // The order does not matter: whichever is over first, the other is looked at in the next turn.
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = watch.jumped() => {
                    let left = wall_due.duration_since(clock.now()).unwrap_or_default();
                    due = due.min(Instant::now() + left);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use avouch_time::clock::{Clock, ManualClock};

    const SCHEDULE: RenewalSchedule = RenewalSchedule {
        first_retry: Duration::from_millis(500),
        longest_retry: Duration::from_secs(30),
        longest_retry_expired: Duration::from_secs(5),
        shortest_retry: Duration::from_millis(200),
        jitter: 0.1,
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn renewal_is_due_at_half_of_what_is_left_give_or_take_a_tenth() {
        for _ in 0..100 {
            let delay = SCHEDULE.delay(0, at(1020), at(1000));
            assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn a_certificate_backdated_past_its_half_life_is_not_renewed_at_once() {
        assert!(SCHEDULE.delay(0, at(1020), at(1000)) >= Duration::from_secs(9));
    }

    #[test]
    fn an_expired_certificate_is_renewed_at_once() {
        assert_eq!(SCHEDULE.delay(0, at(1000), at(1001)), Duration::ZERO);
    }

    #[test]
    fn retries_back_off_but_never_beyond_a_quarter_of_what_is_left() {
        assert!(SCHEDULE.delay(1, at(5000), at(1000)) <= Duration::from_millis(550));
        assert!(SCHEDULE.delay(5, at(5000), at(1000)) >= Duration::from_secs(7));
        assert!(SCHEDULE.delay(20, at(1008), at(1000)) <= Duration::from_millis(2200));
        assert!(SCHEDULE.delay(20, at(9000), at(1000)) >= Duration::from_secs(27));
        assert!(SCHEDULE.delay(1, at(1000), at(1000)) >= SCHEDULE.shortest_retry);
    }

    #[test]
    fn without_a_valid_certificate_retries_stay_frequent_however_many_have_failed() {
        for failures in 1..100 {
            assert!(
                SCHEDULE.delay(failures, at(1000), at(2000)) <= Duration::from_millis(5500),
                "{failures}"
            );
        }
    }

    /// An hour, give or take a tenth of it, after which a certificate of two hours is renewed.
    async fn wait_an_hour(clock: &SharedClock) {
        SCHEDULE.wait(0, at(1000 + 7200), clock).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_jumps_past_the_time_ends_the_wait_within_a_second() {
        let clock = ManualClock::new(at(1000));
        let shared = clock.shared();
        let waiting = wait_an_hour(&shared);
        tokio::pin!(waiting);
        // One that stands still, or goes back, ends nothing early.
        for shown in [1000, 500] {
            clock.set(at(shown));
            assert!(tokio::time::timeout(Duration::from_secs(30), &mut waiting).await.is_err(), "{shown}");
        }
        clock.set(at(1000 + 7200));
        let ended = tokio::time::timeout(Duration::from_secs(1), waiting).await;
        assert!(ended.is_ok(), "the wall clock is not looked at");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_jumps_short_of_the_time_brings_the_end_of_the_wait_nearer() {
        let clock = ManualClock::new(at(1000));
        let shared = clock.shared();
        let waiting = tokio::spawn(async move { wait_an_hour(&shared).await });
        tokio::task::yield_now().await;
        let began = Instant::now();
        clock.set(at(1000 + 3000));
        waiting.await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(3960 - 3000 + 1), "{:?}", began.elapsed());
    }

    /// A clock that shows another time from its second reading on: it jumps between two readings, however close they are.
    #[derive(Debug)]
    struct JumpsAfterFirst(AtomicBool);

    impl Clock for JumpsAfterFirst {
        fn now(&self) -> SystemTime {
            at(if self.0.swap(true, Ordering::Relaxed) { 1000 + 7100 } else { 1000 })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_while_the_delay_is_computed_is_a_jump_too() {
        for shown_first in [false, true] {
            let clock: SharedClock = Arc::new(JumpsAfterFirst(AtomicBool::new(shown_first)));
            let ended = tokio::time::timeout(Duration::from_secs(56), wait_an_hour(&clock)).await;
            assert!(ended.is_ok(), "the certificate ends in 100 s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_stands_still_does_not_stop_the_wait_from_ending() {
        let clock = ManualClock::new(at(1000)).shared();
        let began = Instant::now();
        wait_an_hour(&clock).await;
        assert!((3240..=3961).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }
}
