//! Durations as people write them in a configuration file: `20s`, `1h`, `1h30m`, `30d`.
//!
//! Refuses bare numbers (seconds or minutes?), zero-length text, unknown and repeated units, and what does not fit.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// The text is empty.
    #[error("a duration is empty; write for example 20s, 10m, 1h or 30d")]
    Empty,
    /// A number without its unit, or a unit without its number.
    #[error("{0:?} is no duration; write for example 20s, 10m, 1h or 30d")]
    Malformed(String),
    /// The number does not fit.
    #[error("the duration {0:?} is too long")]
    TooLong(String),
}

/// Units in the order in which they may appear, largest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses `1h30m`-like text.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let malformed = || DurationError::Malformed(text.to_owned());
    let too_long = || DurationError::TooLong(text.to_owned());
    let mut rest = text;
    let mut total: u64 = 0;
    let mut allowed = UNITS.as_slice();
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit());
        if number.is_empty() {
            return Err(malformed());
        }
        let place = allowed.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        let (found, below) = allowed.split_at(place + 1);
        let factor = found.last().map_or(0, |(_, factor)| *factor);
        let number: u64 = number.parse().map_err(|_| too_long())?;
        total = number.checked_mul(factor).and_then(|n| total.checked_add(n)).ok_or_else(too_long)?;
        allowed = below;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// The same text in its shortest form, for messages.
pub fn display(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in UNITS {
        if left >= factor {
            text.push_str(&format!("{}{unit}", left / factor));
            left %= factor;
        }
    }
    text
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    let at = text.find(end).unwrap_or(text.len());
    text.split_at(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_add_up() {
        for (text, seconds) in [("20s", 20), ("10m", 600), ("1h30m", 5_400), ("30d", 2_592_000), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        assert_eq!(parse(""), Err(DurationError::Empty));
        for text in ["20", "s", "1h 30m", "-1s", "1s1h", "1s1s", "1.5h", "1w", " 1s", "1s "] {
            assert_eq!(parse(text), Err(DurationError::Malformed(text.to_owned())), "{text:?}");
        }
        for text in ["99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(parse(text), Err(DurationError::TooLong(text.to_owned())), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_the_same(millis in 0_u64..=10_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&display(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
