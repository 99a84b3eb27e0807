//! Durations as configuration files, command lines and messages write them: `500ms`, `20s`, `10m`, `1h30m`, `30d`.
//!
//! A duration is one or more whole numbers, each with its unit `d`, `h`, `m`, `s` or `ms`, the largest unit first and
//! each at most once. Refused are a number without a unit (seconds or minutes?), and more than a hundred years, so that
//! a duration can be added to any time of this century.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The units in the order in which they may appear, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration: a hundred years of 366 days.
pub const MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// The text does not follow the grammar.
    #[error("invalid duration {0:?}; write for example \"500ms\", \"20s\", \"10m\", \"1h30m\" or \"30d\"")]
    Malformed(String),
    /// The text is a number without a unit.
    #[error("invalid duration {0}: the unit is missing; for seconds write \"{0}s\"")]
    MissingUnit(String),
    /// The duration is longer than [`MAX`].
    #[error("invalid duration {0:?}: longer than a hundred years")]
    TooLong(String),
}

/// A duration in a configuration file or on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigDuration(pub Duration);

impl From<ConfigDuration> for Duration {
    fn from(ConfigDuration(duration): ConfigDuration) -> Self {
        duration
    }
}

impl FromStr for ConfigDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse(text).map(Self)
    }
}

impl fmt::Display for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&exact(self.0))
    }
}

impl Serialize for ConfigDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConfigDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = ConfigDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"500ms\", \"20s\" or \"1h30m\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ConfigDuration, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<ConfigDuration, E> {
        Err(E::custom(DurationError::MissingUnit(number.to_string())))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<ConfigDuration, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom(DurationError::Malformed(number.to_string()))),
        }
    }
}

/// Parses a duration.
///
/// # Errors
/// See [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let too_long = || DurationError::TooLong(text.to_owned());
    if text.is_empty() {
        return Err(malformed());
    }
    if text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(DurationError::MissingUnit(text.to_owned()));
    }
    let (mut rest, mut total, mut allowed) = (text, 0_u64, UNITS.as_slice());
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit());
        if number.is_empty() {
            return Err(malformed());
        }
        let place = allowed.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        let (found, smaller) = allowed.split_at(place + 1);
        let factor = found.last().map_or(0, |(_, factor)| *factor);
        let number: u64 = number.parse().map_err(|_| too_long())?;
        total = number.checked_mul(factor).and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
        (rest, allowed) = (after, smaller);
    }
    let duration = Duration::from_millis(total);
    if duration > MAX { Err(too_long()) } else { Ok(duration) }
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

/// The text that [`parse`] reads back as the same duration, to the millisecond: `1h30m`, `1d1s`, `250ms`.
#[must_use]
pub fn exact(duration: Duration) -> String {
    format(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), UNITS.len())
}

/// The two largest units that follow one another, in whole seconds, for people: `1h30m`, `53m`, `20s`.
#[must_use]
pub fn rounded(duration: Duration) -> String {
    format(duration.as_secs().saturating_mul(1_000), 2)
}

/// At most `parts` units; after the first, a unit that is zero ends the text if there is a limit.
fn format(ms: u64, parts: usize) -> String {
    let (mut left, mut text, mut written) = (ms, String::new(), 0);
    for (unit, factor) in UNITS {
        if left >= factor && written < parts {
            text.push_str(&format!("{}{unit}", left / factor));
            left %= factor;
            written += 1;
        } else if written > 0 && parts < UNITS.len() {
            break;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_add_up() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("20s", 20_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1d1s", 86_401_000),
            ("1s500ms", 1_500),
            ("30d", 2_592_000_000),
            ("36600d", 3_162_240_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn whatever_is_not_a_duration_is_refused() {
        for text in [
            "", "s", "1m1h", "1s1s", "1ms1s", "-1s", "+1s", "1 h", " 1s", "1s ", "1.5h", "1y", "1w", "1S",
            "10sec", "1h 30m", "1h30", "é1s", "１s",
        ] {
            assert_eq!(parse(text), Err(DurationError::Malformed(text.to_owned())), "{text:?}");
        }
        for text in ["99999999999999999999d", "18446744073709551615h", "36601d"] {
            assert_eq!(parse(text), Err(DurationError::TooLong(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn a_bare_number_is_refused_with_the_spelling_that_is_meant() {
        let read =
            |json: &str| serde_json::from_str::<ConfigDuration>(json).map_err(|error| error.to_string());
        assert_eq!(read("\"1h30m\"").unwrap(), ConfigDuration(Duration::from_secs(5_400)));
        for json in ["20", "\"20\""] {
            let error = read(json).unwrap_err();
            assert!(
                error.starts_with("invalid duration 20: the unit is missing; for seconds write \"20s\""),
                "{error}"
            );
        }
        for json in ["-20", "1.5", "true", "null", "[]"] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn people_are_shown_two_units_at_most() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_661, "1h1m"),
            (3_605, "1h"),
            (90_061, "1d1h"),
            (86_405, "1d"),
        ] {
            assert_eq!(rounded(Duration::from_secs(seconds)), text);
        }
        assert_eq!(rounded(Duration::from_millis(1_999)), "1s");
    }

    proptest! {
        #[test]
        fn what_is_written_exactly_parses_to_the_same(ms in 0_u64..=10_000_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&exact(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
