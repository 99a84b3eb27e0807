//! What the issuer does by itself: renews its own certificate and its signing authority in time, forgets old records.
//!
//! Renewal is due by the monotonic clock, at half of the time left ± 10 %; the wall clock is looked at in between, so that
//! a suspended machine or a corrected clock does not make it late. A failure is retried, never later than after a
//! quarter of what is left, and what is in use stays in use.

use crate::issuing::Issuing;
use crate::own;
use avouch_identity::{Publisher, Svid};
use avouch_spiffe::SpiffeId;
use avouch_spiffe::clock::SharedClock;
use avouch_text::with_causes;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How often the wall clock is looked at while waiting.
const LOOK: Duration = Duration::from_secs(1);
/// Between two attempts after a failure, at most.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
const SHORTEST_RETRY: Duration = Duration::from_millis(500);
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// Waits until half of the time left has passed, or the wall clock says that three quarters have.
async fn until_half_over(clock: &SharedClock, not_after: SystemTime) {
    let now = clock.now();
    let left = not_after.duration_since(now).unwrap_or_default();
    let due = Instant::now() + left.mul_f64(0.5 * jitter());
    let latest = now + left.mul_f64(0.75);
    wait(clock, due, latest).await;
}

async fn wait(clock: &SharedClock, due: Instant, latest: SystemTime) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() || clock.now() >= latest {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// 0.9 to 1.1. Keeps issuers from renewing in step; needs no secrecy, so failing randomness means no jitter.
fn jitter() -> f64 {
    let random = crate::random::bytes::<2>().map_or(0x8000, u16::from_be_bytes);
    0.9 + 0.2 * f64::from(random) / f64::from(u16::MAX)
}

/// How long to wait after a failure.
fn retry_after(clock: &SharedClock, not_after: SystemTime) -> Duration {
    let left = not_after.duration_since(clock.now()).unwrap_or_default();
    (left / 4).clamp(SHORTEST_RETRY, LONGEST_RETRY)
}

/// Keeps the issuer's own certificate fresh. Never ends.
pub(crate) async fn renew_own(issuing: Arc<Issuing>, id: SpiffeId, publisher: Arc<Publisher>) {
    loop {
        let not_after = publisher.current().svid.not_after();
        until_half_over(&issuing.clock, not_after).await;
        loop {
            match own::issue(&issuing, &id).await {
                Ok(svid) => {
                    announce(&svid);
                    publisher.publish_svid(svid);
                    break;
                }
                Err(error) => {
                    tracing::error!(error = %with_causes(&error), "the issuer's own certificate is not renewed");
                    tokio::time::sleep(retry_after(&issuing.clock, not_after)).await;
                }
            }
        }
    }
}

fn announce(svid: &Svid) {
    tracing::info!(serial = svid.leaf().serial(), "the issuer's own certificate has been renewed");
}

/// Keeps the signing authority fresh. Never ends.
pub(crate) async fn renew_signing(issuing: Arc<Issuing>) {
    loop {
        let not_after = issuing.authorities.signing().not_after();
        until_half_over(&issuing.clock, not_after).await;
        loop {
            let renewing = Arc::clone(&issuing);
            // Reads and writes files.
            let renewed =
                tokio::task::spawn_blocking(move || renewing.authorities.renew_signing(renewing.clock.now()))
                    .await;
            let error = match renewed {
                Ok(Ok(_)) => break issuing.metrics.authorities(&issuing.authorities),
                Ok(Err(error)) => with_causes(&error).to_string(),
                Err(error) => error.to_string(),
            };
            let left = not_after.duration_since(issuing.clock.now()).unwrap_or_default();
            tracing::error!(error, seconds_left = left.as_secs(), "the signing authority is not renewed");
            tokio::time::sleep(retry_after(&issuing.clock, not_after)).await;
        }
    }
}

/// Forgets what is over. Never ends.
pub(crate) async fn prune(issuing: Arc<Issuing>, retention: Duration) {
    loop {
        tokio::time::sleep(PRUNE_EVERY).await;
        let now = issuing.clock.now();
        let before = now.checked_sub(retention).unwrap_or(SystemTime::UNIX_EPOCH);
        match issuing.store.prune(now, before).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "old records forgotten"),
            Err(error) => tracing::warn!(error = %with_causes(&error), "old records stay"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_spiffe::clock::ManualClock;

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn renewal_is_due_at_half_of_the_time_left_give_or_take_a_tenth() {
        let clock = ManualClock::new(start());
        for _ in 0..50 {
            let began = Instant::now();
            until_half_over(&clock.shared(), start() + Duration::from_secs(1_000)).await;
            let waited = began.elapsed().as_secs();
            assert!((450..=551).contains(&waited), "{waited}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_of_the_wall_clock_does_not_make_it_late() {
        let clock = ManualClock::new(start());
        let shared = clock.shared();
        let began = Instant::now();
        let waiting = tokio::spawn(async move {
            until_half_over(&shared, start() + Duration::from_secs(1_000)).await;
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        clock.set(start() + Duration::from_secs(800)); // as after a suspend
        waiting.await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(60) + LOOK, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_set_back_does_not_put_it_off() {
        let clock = ManualClock::new(start());
        let shared = clock.shared();
        let began = Instant::now();
        let waiting = tokio::spawn(async move {
            until_half_over(&shared, start() + Duration::from_secs(1_000)).await;
        });
        tokio::task::yield_now().await;
        clock.set(start() - Duration::from_secs(100_000));
        waiting.await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(551), "{:?}", began.elapsed());
    }

    #[test]
    fn retries_come_sooner_the_less_is_left() {
        let clock = ManualClock::new(start()).shared();
        let after = |left: u64| retry_after(&clock, start() + Duration::from_secs(left));
        assert_eq!(after(100_000), LONGEST_RETRY);
        assert_eq!(after(20), Duration::from_secs(5));
        assert_eq!(after(0), SHORTEST_RETRY);
        assert_eq!(retry_after(&clock, start() - Duration::from_secs(9)), SHORTEST_RETRY);
    }
}
