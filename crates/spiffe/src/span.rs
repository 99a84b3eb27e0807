//! Spans of time as people write and read them: `20s`, `10m`, `1h30m`, `30d`.
//!
//! Refuses a bare number (seconds or minutes?), units out of order, and more than a hundred years.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
const MAX_SECONDS: u64 = 100 * 366 * 86_400;

/// Why a text is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// It is not written as one.
    #[error("{0:?} is no span of time; write for example 20s, 10m, 1h or 30d")]
    Malformed(String),
    /// More than a hundred years.
    #[error("{0:?} is too long")]
    TooLong(String),
}

/// Parses `20s`, `10m`, `1h30m`, `30d`.
///
/// # Errors
/// See [`SpanError`].
pub fn parse(text: &str) -> Result<Duration, SpanError> {
    let malformed = || SpanError::Malformed(text.to_owned());
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
            .filter(|seconds| *seconds <= MAX_SECONDS)
            .ok_or_else(|| SpanError::TooLong(text.to_owned()))?;
        (rest, allowed) = (after, below);
    }
    if text.is_empty() { Err(malformed()) } else { Ok(Duration::from_secs(seconds)) }
}

/// The two largest units: `1h30m`, `53m`, `20s`.
#[must_use]
pub fn display(span: Duration) -> String {
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
}
