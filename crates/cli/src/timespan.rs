//! Spans of time as people type and read them: `20s`, `10m`, `1h30m`, `in 53m`, `3d ago`.

use std::time::{Duration, SystemTime};

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Parses `20s`, `10m`, `1h30m`, `30d`. A bare number is refused: seconds or minutes?
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let malformed = || format!("{text:?} is no span of time; write for example 20s, 10m, 1h or 30d");
    let mut rest = text;
    let mut seconds: u64 = 0;
    let mut allowed = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let place = allowed.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        let (found, below) = allowed.split_at(place + 1);
        let factor = found.last().map_or(0, |(_, factor)| *factor);
        let number: u64 = number.parse().map_err(|_| malformed())?;
        seconds = number
            .checked_mul(factor)
            .and_then(|more| seconds.checked_add(more))
            .filter(|seconds| *seconds <= 100 * 366 * 86_400)
            .ok_or_else(|| format!("{text:?} is too long"))?;
        (rest, allowed) = (after, below);
    }
    if text.is_empty() { Err(malformed()) } else { Ok(Duration::from_secs(seconds)) }
}

/// The two largest units: `1h30m`, `53m`, `20s`.
pub(crate) fn display(span: Duration) -> String {
    let mut left = span.as_secs();
    let mut parts = Vec::new();
    for (unit, factor) in UNITS {
        if left >= factor && parts.len() < 2 {
            parts.push(format!("{}{unit}", left / factor));
            left %= factor;
        } else if !parts.is_empty() {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

/// `in 53m` or `3d ago`.
pub(crate) fn relative(at: SystemTime, now: SystemTime) -> String {
    match at.duration_since(now) {
        Ok(ahead) => format!("in {}", display(ahead)),
        Err(behind) => format!("{} ago", display(behind.duration())),
    }
}

/// `2026-11-22T17:00:00Z`.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let at = time::OffsetDateTime::from(at).replace_nanosecond(0);
    at.ok()
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| "beyond the year 9999".to_owned())
}

/// The moment that an RFC 3339 text names; none if it names none.
pub(crate) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, format).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood_and_bare_numbers_are_not() {
        for (text, seconds) in [("20s", 20), ("10m", 600), ("1h30m", 5_400), ("30d", 2_592_000)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)));
        }
        for text in
            ["", "20", "s", "1m1h", "1s1s", "-1s", "1 h", "1y", "99999999999d", "99999999999999999999s"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn spans_read_as_two_units_at_most() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_661, "1h1m"),
            (3_605, "1h"),
            (90_061, "1d1h"),
            (86_405, "1d"),
        ] {
            assert_eq!(display(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn moments_read_relative_to_now_and_as_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(relative(now + Duration::from_secs(20), now), "in 20s");
        assert_eq!(relative(now - Duration::from_secs(61), now), "1m1s ago");
        assert_eq!(rfc3339(now), "2027-01-15T08:00:00Z");
        assert_eq!(parse_rfc3339("2027-01-15T08:00:00Z"), Some(now));
        assert_eq!(parse_rfc3339("2027-01-15T09:00:00.250+01:00"), Some(now + Duration::from_millis(250)));
        assert_eq!(parse_rfc3339("2027-01-15"), None);
    }
}
