//! The time line of a run: everything in the facts is told in milliseconds after its beginning.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use avouch_time::clock::{Clock as _, SystemClock};
use avouch_time::timestamp;

/// When a run began, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    wall: SystemTime,
    steady: Instant,
}

impl Stopwatch {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { wall: SystemClock.now(), steady: Instant::now() }
    }

    /// Milliseconds since.
    #[must_use]
    pub fn ms(&self) -> u64 {
        u64::try_from(self.steady.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Where a moment of the wall clock is on the time line; negative before the beginning.
    #[must_use]
    pub fn at(&self, moment: SystemTime) -> i64 {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match moment.duration_since(self.wall) {
            Ok(after) => ms(after),
            Err(before) => -ms(before.duration()),
        }
    }

    /// As [`Stopwatch::at`], for nanoseconds since the epoch.
    #[must_use]
    pub fn at_ns(&self, ns: u64) -> i64 {
        self.at(UNIX_EPOCH + Duration::from_nanos(ns))
    }

    /// Now, in nanoseconds since the epoch.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        let since = (self.wall + self.steady.elapsed()).duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The beginning, RFC 3339 in UTC, to the second.
    #[must_use]
    pub fn started(&self) -> String {
        timestamp::rfc3339(self.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_the_beginning_are_negative() {
        let watch = Stopwatch::start();
        assert_eq!(watch.at(watch.wall - Duration::from_millis(1500)), -1500);
        assert_eq!(watch.at(watch.wall + Duration::from_secs(2)), 2000);
    }
}
