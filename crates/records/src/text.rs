//! How times and numbers are written in records.

use std::fmt::Write as _;
use std::time::SystemTime;

use time::OffsetDateTime;

/// RFC 3339 in UTC, to the millisecond: `2026-01-31T23:59:59.250Z`.
#[must_use]
pub fn time(at: SystemTime) -> String {
    let mut text = String::with_capacity(24);
    push_time(&mut text, at);
    text
}

/// Appends [`time()`] to `text`.
pub fn push_time(text: &mut String, at: SystemTime) {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, milli) = at.to_hms_milli();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z",
        u8::from(month)
    );
}

/// Reads what [`time()`] wrote, and any other RFC 3339 text; none if it is none.
#[must_use]
pub fn parse_time(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_written_to_the_millisecond_in_utc_and_read_again() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_599_250);
        assert_eq!(time(at), "2025-12-31T23:59:59.250Z");
        assert_eq!(parse_time(&time(at)), Some(at));
        assert_eq!(parse_time("2026-01-01T00:59:59.25+01:00"), Some(at));
        assert_eq!(parse_time("yesterday"), None);
        assert_eq!(time(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
