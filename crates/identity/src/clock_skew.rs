//! The difference between this process's clock and its issuer's, measured whenever the issuer says what its clock shows.
//!
//! A wrong clock looks like an expired certificate, and TLS cannot tell the two apart. The difference is measured when
//! an SVID is issued and on the trust stream, by the clock that certificates are verified with. It is used in messages
//! only: no decision and no certificate depends on it, so that an issuer cannot influence which certificates a workload
//! accepts.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;

/// The least difference that counts: the answer was under way, and a certificate begins earlier than it is issued.
const IN_STEP: Duration = Duration::from_secs(2);

/// One measurement of this process's clock against the issuer's.
///
/// The transit time of the answer counts as being ahead: over a network, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockDifference {
    /// How many milliseconds this clock is ahead of the issuer's; negative if it is behind.
    pub ahead_millis: i64,
    /// The time of the measurement, by this clock.
    pub measured_at: SystemTime,
}

impl ClockDifference {
    /// The difference between this clock, which shows `own`, and the issuer's, which shows `issuer`.
    #[must_use]
    pub fn between(own: SystemTime, issuer: SystemTime) -> Self {
        let millis = |apart: Duration| i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
        let ahead_millis = match own.duration_since(issuer) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        };
        Self { ahead_millis, measured_at: own }
    }

    /// Whether the difference is too small to count.
    pub fn is_none(&self) -> bool {
        self.size() < IN_STEP
    }

    /// The difference without its direction.
    pub fn size(&self) -> Duration {
        Duration::from_millis(self.ahead_millis.unsigned_abs())
    }
}

/// Shown as in `12 min ahead of the issuer's`.
impl fmt::Display for ClockDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size();
        if self.is_none() {
            return f.write_str("in step with the issuer's");
        }
        let way = if self.ahead_millis > 0 { "ahead of" } else { "behind" };
        write!(f, "{} {way} the issuer's", crate::time_text::length(size))
    }
}

/// Keeps the latest measurement; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct IssuerClock(Arc<ArcSwapOption<ClockDifference>>);

impl IssuerClock {
    /// Notes what the issuer's clock showed when this one showed `own`.
    pub(crate) fn measure(&self, own: SystemTime, issuer: SystemTime) -> ClockDifference {
        let difference = ClockDifference::between(own, issuer);
        self.0.store(Some(Arc::new(difference)));
        difference
    }

    /// The latest measurement; nothing where none was made.
    pub(crate) fn latest(&self) -> Option<ClockDifference> {
        self.0.load().as_deref().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::from_secs(1_800_000_000);

    fn measured(own: SystemTime, issuer: SystemTime) -> (i64, String) {
        let clock = IssuerClock::default();
        assert_eq!(clock.latest(), None);
        let difference = clock.measure(own, issuer);
        assert_eq!(clock.clone().latest(), Some(difference));
        assert_eq!(difference.is_none(), difference.to_string().starts_with("in step"));
        (difference.ahead_millis, difference.to_string())
    }

    #[test]
    fn a_difference_has_a_size_and_a_direction_and_a_small_one_is_none() {
        let noon = SystemTime::UNIX_EPOCH + NOON;
        let minute = Duration::from_secs(60);
        for (own, millis, text) in [
            (noon, 0, "in step with the issuer's"),
            (noon + Duration::from_millis(1999), 1999, "in step with the issuer's"),
            (noon + Duration::from_secs(2), 2000, "2 s ahead of the issuer's"),
            (noon + 10 * minute, 600_000, "10 min ahead of the issuer's"),
            (noon - 10 * minute, -600_000, "10 min behind the issuer's"),
            (noon - 5000 * minute, -300_000_000, "3 days behind the issuer's"),
        ] {
            assert_eq!(measured(own, noon), (millis, text.to_owned()));
        }
    }

    #[test]
    fn an_issuer_at_the_end_of_time_is_only_far_away() {
        let noon = SystemTime::UNIX_EPOCH + NOON;
        let Some(end) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(i64::MAX as u64)) else {
            return;
        };
        let (millis, text) = measured(noon, end);
        assert!(millis < 0 && text.ends_with("days behind the issuer's"), "{millis} {text}");
        assert_eq!(measured(end, noon).0, i64::MAX);
    }
}
