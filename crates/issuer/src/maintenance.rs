//! The issuer's background tasks: they renew its own certificate and its signing authority in time, publish that
//! revocations have ended, and delete old records.
//!
//! [`RenewalSchedule`] says when a renewal is due and when a failed one is tried again. Until one succeeds, the
//! current certificate or authority stays in use.

use crate::issuance::Issuance;
use crate::self_issue;
use avouch_identity::renewal_schedule::RenewalSchedule;
use avouch_identity::{Publisher, Svid};
use avouch_spiffe::SpiffeId;
use avouch_text::with_causes;
use avouch_time::clock::SharedClock;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The schedule of the issuer, which needs no network to renew: no backoff, but a quarter of what is left, and a minute at
/// most.
const RENEWAL: RenewalSchedule = RenewalSchedule {
    first_retry: Duration::from_secs(60),
    longest_retry: Duration::from_secs(60),
    longest_retry_expired: Duration::from_millis(500),
    shortest_retry: Duration::from_millis(500),
    // No jitter: the issuer asks itself, so there is no fleet whose requests would coincide.
    jitter: 0.0,
};
/// How often revocations leave the trust state at most, since each time every workload gets an update.
const ENDED_EVERY: Duration = Duration::from_secs(1);
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// Keeps the issuer's own certificate fresh. Never ends.
pub(crate) async fn renew_own(issuance: Arc<Issuance>, id: SpiffeId, publisher: Arc<Publisher>) {
    let mut failures = 0;
    loop {
        until_due(&issuance.clock, failures, publisher.current().svid.not_after()).await;
        match self_issue::issue(&issuance, &id).await {
            Ok(svid) => {
                failures = 0;
                announce(&svid);
                publisher.update(svid);
            }
            Err(error) => {
                failures += 1;
                tracing::error!(error = %with_causes(&error), "the issuer's own certificate is not renewed");
            }
        }
    }
}

/// Waits until the certificate that ends at `not_after` is to be renewed, after so many failures in a row.
async fn until_due(clock: &SharedClock, failures: u32, not_after: SystemTime) {
    RENEWAL.wait(failures, not_after, clock).await;
}

fn announce(svid: &Svid) {
    tracing::info!(serial = svid.leaf().serial(), "the issuer's own certificate has been renewed");
}

/// Keeps the signing authority fresh. Never ends.
pub(crate) async fn renew_signing(issuance: Arc<Issuance>) {
    let mut failures = 0;
    loop {
        let not_after = issuance.authorities.signing().not_after();
        until_due(&issuance.clock, failures, not_after).await;
        let renewing = Arc::clone(&issuance);
        // Off the async threads, since it reads and writes files.
        let renewed =
            tokio::task::spawn_blocking(move || renewing.authorities.renew_signing(renewing.clock.now()))
                .await;
        let error = match renewed {
            Ok(Ok(_)) => {
                failures = 0;
                issuance.metrics.authorities(&issuance.authorities);
                continue;
            }
            Ok(Err(error)) => with_causes(&error).to_string(),
            Err(error) => error.to_string(),
        };
        failures += 1;
        let left = not_after.duration_since(issuance.clock.now()).unwrap_or_default();
        tracing::error!(error, seconds_left = left.as_secs(), "the signing authority is not renewed");
    }
}

/// Publishes the trust state without the revocations that have ended by themselves. Never ends.
pub(crate) async fn publish_ended(issuance: Arc<Issuance>) {
    loop {
        // Looks at the clock rather than sleeping until the next end: clocks are set. What ends in the same second leaves
        // together.
        tokio::time::sleep(ENDED_EVERY).await;
        if issuance.trust.published().next_end.is_none_or(|end| end > issuance.clock.now()) {
            continue;
        }
        if let Err(error) = issuance.trust.refresh().await {
            tracing::warn!(error = %with_causes(&error), "revocations that have ended stay in the trust state");
        }
    }
}

/// Deletes expired records from the store. Never ends.
pub(crate) async fn prune(issuance: Arc<Issuance>, retention: Duration) {
    loop {
        tokio::time::sleep(PRUNE_EVERY).await;
        let now = issuance.clock.now();
        let before = now.checked_sub(retention).unwrap_or(SystemTime::UNIX_EPOCH);
        match issuance.store.prune(now, before).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "old records forgotten"),
            Err(error) => tracing::warn!(error = %with_causes(&error), "old records stay"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_time::clock::ManualClock;
    use tokio::time::Instant;

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn renewal_is_due_at_half_of_the_time_left_give_or_take_a_tenth() {
        let clock = ManualClock::new(start());
        for _ in 0..50 {
            let began = Instant::now();
            until_due(&clock.shared(), 0, start() + Duration::from_secs(1_000)).await;
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
            until_due(&shared, 0, start() + Duration::from_secs(1_000)).await;
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        clock.set(start() + Duration::from_secs(800)); // as after a suspend
        waiting.await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_set_back_does_not_put_it_off() {
        let clock = ManualClock::new(start());
        let shared = clock.shared();
        let began = Instant::now();
        let waiting = tokio::spawn(async move {
            until_due(&shared, 0, start() + Duration::from_secs(1_000)).await;
        });
        tokio::task::yield_now().await;
        clock.set(start() - Duration::from_secs(100_000));
        waiting.await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(551), "{:?}", began.elapsed());
    }

    #[test]
    fn retries_come_sooner_the_less_is_left() {
        let after = |left: u64| RENEWAL.delay(1, start() + Duration::from_secs(left), start());
        assert_eq!(after(100_000), RENEWAL.longest_retry);
        assert_eq!(after(20), Duration::from_secs(5));
        assert_eq!(after(0), RENEWAL.shortest_retry);
        let ended = start() - Duration::from_secs(9);
        assert_eq!(RENEWAL.delay(1, ended, start()), RENEWAL.shortest_retry);
    }
}
