//! How a thousand workloads come back after an outage of their issuer: the moments of their first attempts that succeed.

use std::time::{Duration, SystemTime};

use super::issuer::RENEWAL;
use super::trust_stream::Backoff;

const WORKLOADS: usize = 1_000;
const WINDOW: Duration = Duration::from_millis(100);

/// The outages, and how many of a thousand workloads may come back within a tenth of a second after each. A restart takes
/// about a second, and an issuer bears a few hundred handshakes in that time.
const OUTAGES: [(Duration, usize); 4] = [
    (Duration::from_secs(1), 200),
    (Duration::from_secs(10), 60),
    (Duration::from_secs(60), 60),
    (Duration::from_secs(600), 60),
];

/// The most of these moments within one window.
fn most_at_once(mut moments: Vec<Duration>) -> usize {
    moments.sort_unstable();
    let within = |first: &Duration| moments.partition_point(|moment| *moment <= *first + WINDOW);
    let before = |first: &Duration| moments.partition_point(|moment| moment < first);
    moments.iter().map(|first| within(first) - before(first)).max().unwrap_or_default()
}

/// The first attempt after the outage, where all attempts before it fail at once and everybody began at the same moment.
fn comes_back(outage: Duration, mut pause: impl FnMut() -> Duration) -> Duration {
    let mut moment = Duration::ZERO;
    while moment < outage {
        moment += pause();
    }
    moment
}

fn check(what: &str, schedule: impl Fn(Duration) -> Duration) {
    for (outage, allowed) in OUTAGES {
        let most = most_at_once((0..WORKLOADS).map(|_| schedule(outage)).collect());
        assert!(most <= allowed, "{what}: {most} at once after {outage:?}");
    }
}

#[test]
fn streams_that_ended_at_one_moment_come_back_spread() {
    check("streams", |outage| {
        let mut backoff = Backoff::default();
        comes_back(outage, || backoff.pause())
    });
}

#[test]
fn renewals_that_failed_at_one_moment_come_back_spread() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let renewals = |not_after: SystemTime| {
        move |outage| {
            let mut failures = 0;
            comes_back(outage, || {
                failures += 1;
                RENEWAL.delay(failures, not_after, now)
            })
        }
    };
    check("renewals with time left", renewals(now + Duration::from_secs(3600)));
    check("renewals and recoveries of what has ended", renewals(now));
}

#[test]
fn first_renewals_of_certificates_that_were_issued_together_are_spread() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for (life, allowed) in [(60, 40), (3600, 10)] {
        let not_after = now + Duration::from_secs(life);
        let moments = (0..WORKLOADS).map(|_| RENEWAL.delay(0, not_after, now)).collect();
        let most = most_at_once(moments);
        assert!(most <= allowed, "{most} at once with lives of {life} s");
    }
}
