//! Timestamps: as RFC 3339 writes them, as people say them, and as databases keep them.

use std::time::{Duration, SystemTime};

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcDateTime};

use crate::duration::rounded;

const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const MILLISECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The time in UTC, to the second: `2026-11-22T17:00:00Z`.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    // A description of numbers alone formats every time.
    utc(at).format(SECONDS).unwrap_or_default()
}

/// The time in UTC, to the millisecond: `2026-11-22T17:00:00.250Z`.
#[must_use]
pub fn rfc3339_millis(at: SystemTime) -> String {
    utc(at).format(MILLISECONDS).unwrap_or_default()
}

/// The time that an RFC 3339 text means, with its fraction of a second and its offset.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// The time as seen from `now`: `in 53m` or `3d ago`.
#[must_use]
pub fn relative(at: SystemTime, now: SystemTime) -> String {
    match at.duration_since(now) {
        Ok(ahead) => format!("in {}", rounded(ahead)),
        Err(behind) => format!("{} ago", rounded(behind.duration())),
    }
}

/// The milliseconds since 1970, as databases keep times; 0 for a time before that.
#[must_use]
pub fn unix_millis(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The reverse of [`unix_millis`].
#[must_use]
pub fn from_unix_millis(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Saturates: a file may name a time beyond the year 9999, with which RFC 3339 ends.
fn utc(at: SystemTime) -> UtcDateTime {
    let since = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => time::Duration::try_from(after).unwrap_or(time::Duration::MAX),
        Err(before) => {
            time::Duration::try_from(before.duration()).map_or(time::Duration::MIN, |before| -before)
        }
    };
    UtcDateTime::UNIX_EPOCH.saturating_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn moments_read_relative_to_now_and_as_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(relative(now + Duration::from_secs(20), now), "in 20s");
        assert_eq!(relative(now - Duration::from_secs(61), now), "1m1s ago");
        assert_eq!(rfc3339(now), "2027-01-15T08:00:00Z");
        assert_eq!(parse_rfc3339("2027-01-15T08:00:00Z"), Some(now));
        assert_eq!(parse_rfc3339("2027-01-15T09:00:00.250+01:00"), Some(now + Duration::from_millis(250)));
        for nonsense in ["", "yesterday", "2027-01-15", "2027-13-15T08:00:00Z"] {
            assert_eq!(parse_rfc3339(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_time_is_written_to_the_millisecond_in_utc_and_read_again() {
        let at = at(1_767_225_599_250);
        assert_eq!(rfc3339_millis(at), "2025-12-31T23:59:59.250Z");
        assert_eq!(rfc3339(at), "2025-12-31T23:59:59Z");
        assert_eq!(parse_rfc3339(&rfc3339_millis(at)), Some(at));
        assert_eq!(parse_rfc3339("2026-01-01T00:59:59.25+01:00"), Some(at));
        assert_eq!(rfc3339_millis(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn days_become_dates() {
        for (day, date) in [(0, "1970-01-01"), (11_016, "2000-02-29"), (20_779, "2026-11-22")] {
            assert_eq!(rfc3339(at(day * 86_400_000)), format!("{date}T00:00:00Z"));
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_the_last_one_of_it() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60);
        assert_eq!(rfc3339_millis(far), "9999-12-31T23:59:59.999Z");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(rfc3339_millis(before), "1969-12-31T23:59:59.000Z");
    }

    #[test]
    fn a_time_survives_its_number_to_the_millisecond() {
        assert_eq!(from_unix_millis(unix_millis(at(1_767_225_599_250))), at(1_767_225_599_250));
        assert_eq!(unix_millis(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(from_unix_millis(-1), SystemTime::UNIX_EPOCH);
    }
}
