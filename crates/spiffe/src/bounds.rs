//! Bounds of the numbers and durations that people configure, each with its reason.
//!
//! One value of [`Bounds`] says what a key may be, and the message that refuses anything else comes from it, so that the
//! two cannot differ.

use std::time::Duration;

/// A kind of value that can have bounds: a number or a duration.
pub trait Quantity: Copy + PartialOrd {
    /// The kind of value, in a message.
    const KIND: &'static str;

    /// The value in a message; of a duration the form in which it can be written again.
    fn text(self) -> String;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Quantity for $number {
            const KIND: &'static str = "a whole number";

            fn text(self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(u32, u64, usize, i64);

impl Quantity for f64 {
    const KIND: &'static str = "a number";

    fn text(self) -> String {
        self.to_string()
    }
}

impl Quantity for Duration {
    const KIND: &'static str = "a duration such as 500ms, 10s, 2m or 1h,";

    fn text(self) -> String {
        const UNITS: [(&str, u128); 5] =
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let milliseconds = self.as_millis();
        let whole =
            UNITS.iter().find(|(_, factor)| milliseconds >= *factor && milliseconds.is_multiple_of(*factor));
        whole.map_or_else(|| "0s".to_owned(), |(unit, factor)| format!("{}{unit}", milliseconds / factor))
    }
}

/// Bounds: the least and the most that works, both included, and why not less or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds<T> {
    least: T,
    most: T,
    why: &'static str,
}

/// A value outside of its bounds. Shown as `VALUE: must be KIND from LEAST to MOST; WHY`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value}: {expected}")]
pub struct OutOfBounds {
    value: String,
    expected: String,
}

impl<T> Bounds<T> {
    /// Bounds from `least` to `most`, because of `why`.
    pub const fn new(least: T, most: T, why: &'static str) -> Self {
        Self { least, most, why }
    }
}

impl<T: Quantity> Bounds<T> {
    /// The least that works.
    pub fn least(&self) -> T {
        self.least
    }

    /// The most that works.
    pub fn most(&self) -> T {
        self.most
    }

    /// Whether `value` is within; a NaN is not.
    pub fn contains(&self, value: T) -> bool {
        self.least <= value && value <= self.most
    }

    /// `value`, if it is within.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, value: T) -> Result<T, OutOfBounds> {
        if self.contains(value) { Ok(value) } else { Err(self.refuse(value.text())) }
    }

    /// The nearest value within.
    #[must_use]
    pub fn clamp(&self, value: T) -> T {
        match value {
            value if value > self.most => self.most,
            value if self.contains(value) => value,
            // Less than the least; a NaN too.
            _ => self.least,
        }
    }

    /// The refusal of what was written, which need not be a `T` at all.
    pub fn refuse(&self, written: impl Into<String>) -> OutOfBounds {
        let (least, most) = (self.least.text(), self.most.text());
        let expected = format!("must be {} from {least} to {most}; {}", T::KIND, self.why);
        OutOfBounds { value: shown(written.into()), expected }
    }
}

/// The value as a message repeats it: without control characters, which could rewrite a terminal, and cut.
fn shown(written: String) -> String {
    const SHOWN: usize = 80;
    if written.chars().count() <= SHOWN && written.chars().all(|c| !c.is_control()) {
        return written;
    }
    let start: String = written.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    start + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Bounds<u32> = Bounds::new(2, 5, "there are no more");

    #[test]
    fn both_ends_are_within_and_what_is_beyond_is_refused_with_range_and_reason() {
        assert_eq!([2, 5].map(|value| FEW.check(value).ok()), [Some(2), Some(5)]);
        let said = FEW.check(6).unwrap_err().to_string();
        assert_eq!(said, "6: must be a whole number from 2 to 5; there are no more");
        assert!(FEW.check(1).is_err() && FEW.check(u32::MAX).is_err() && FEW.check(0).is_err());
        assert_eq!(FEW.refuse("many").to_string().split(':').next(), Some("many"));
    }

    #[test]
    fn a_number_that_is_none_is_in_no_bounds() {
        let share = Bounds::new(0.0, 1.0, "it is a share");
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::MIN_POSITIVE, 1.000_001] {
            assert!(share.check(value).is_err(), "{value}");
            assert!(share.contains(share.clamp(value)), "{value}");
        }
        assert!(share.contains(-0.0));
    }

    #[test]
    fn a_duration_is_shown_as_it_can_be_written() {
        for (milliseconds, text) in [
            (0, "0s"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (10_000, "10s"),
            (301_000, "301s"),
            (300_000, "5m"),
            (5_400_000, "90m"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(Duration::from_millis(milliseconds).text(), text);
        }
        assert!(!Duration::MAX.text().is_empty());
    }

    #[test]
    fn a_refusal_repeats_no_control_characters_and_no_whole_file() {
        let said = FEW.refuse("\u{1b}[2J\n").to_string();
        assert!(!said.contains(char::is_control), "{said:?}");
        assert!(FEW.refuse("k".repeat(5_000)).to_string().len() < 200);
    }

    #[test]
    fn the_nearest_value_within_is_within() {
        assert_eq!([0, 2, 3, 5, u32::MAX].map(|value| FEW.clamp(value)), [2, 2, 3, 5, 5]);
    }
}
