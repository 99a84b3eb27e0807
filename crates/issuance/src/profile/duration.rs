//! Durations as people write them: `20s`, `90m`, `1h`, `365d`, or several parts as in `1h30m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// A duration in a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) Duration);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(
                "a duration is written as whole numbers with d, h, m or s, such as \"1h30m\"",
            )
        })
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut digits = String::new();
    let mut largest_left = u64::MAX;
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let (_, seconds) = UNITS.iter().find(|(unit, _)| *unit == c)?;
        if *seconds >= largest_left {
            return None;
        }
        largest_left = *seconds;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*seconds)?)?;
        digits.clear();
    }
    (digits.is_empty() && largest_left != u64::MAX).then_some(Duration::from_secs(total))
}

/// The form that [`parse`] reads, for messages.
pub(super) fn text(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut out = String::new();
    for (unit, seconds) in UNITS {
        let count = rest / seconds;
        if count > 0 {
            out.push_str(&count.to_string());
            out.push(unit);
            rest %= seconds;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (written, seconds) in
            [("20s", 20), ("1h30m", 5400), ("365d", 31_536_000), ("0s", 0), ("1d1s", 86_401)]
        {
            let read = parse(written).unwrap();
            assert_eq!(read, Duration::from_secs(seconds));
            assert_eq!(text(read), written);
        }
    }

    #[test]
    fn anything_else_is_no_duration() {
        let huge = "99999999999999999999d";
        for written in
            ["", "20", "s", "1.5h", "1h1h", "1m1h", "-1s", "1 h", "1y", "20 s", huge, "9999999999999999d"]
        {
            assert_eq!(parse(written), None, "{written:?}");
        }
    }
}
