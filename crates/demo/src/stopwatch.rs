//! The time line of a run: everything in the facts is told in milliseconds after its beginning.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use avouch_spiffe::clock::{Clock as _, SystemClock};

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
        let seconds = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
    }
}

/// The Gregorian date of a day after 1970-01-01 (the era-based algorithm, for days that are not negative).
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_779), (2026, 11, 22));
    }

    #[test]
    fn moments_before_the_beginning_are_negative() {
        let watch = Stopwatch::start();
        assert_eq!(watch.at(watch.wall - Duration::from_millis(1500)), -1500);
        assert_eq!(watch.at(watch.wall + Duration::from_secs(2)), 2000);
    }
}
