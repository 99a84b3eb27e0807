//! A single configuration value before validation: a number, a duration, a boolean or a text, as a layer has it.
//!
//! A key that is a number is read as a [`Scalar`] and becomes a number only through its [`Bounds`]. So no number is without
//! bounds, and whatever is written there (a negative one, a fraction, `nan`, a word) is refused with the key, the value,
//! the range and the reason. The `config` crate would read `true`, `yes` and `0.6` as the whole number 1.

use std::fmt;
use std::time::Duration;

use avouch_spiffe::Bounds;
use avouch_spiffe::bounds::Quantity;
use avouch_time::ConfigDuration;
use serde::{Deserialize, Deserializer};

use super::error::{ConfigFault, hidden};

/// Octets of a text that a message repeats.
const SHOWN: usize = 64;

/// A single value, not judged yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Whole(i128),
    Real(f64),
    Flag(bool),
    Text(String),
}

/// A quantity that a [`Scalar`] can be.
pub trait Readable: Quantity {
    /// The value, if it is written as one.
    fn read(scalar: &Scalar) -> Option<Self>;

    /// The most likely meaning of a number without a unit, where a unit is needed.
    fn without_unit(_: &Scalar) -> Option<Self> {
        None
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Readable for $number {
            fn read(scalar: &Scalar) -> Option<Self> {
                scalar.whole().and_then(|number| number.try_into().ok())
            }
        }
    )*};
}

whole_numbers!(u32, u64, usize, i64);

impl Readable for f64 {
    fn read(scalar: &Scalar) -> Option<Self> {
        match &scalar.0 {
            // Exact up to 2^53, and no bounds go that far.
            #[expect(clippy::cast_precision_loss, reason = "what is beyond is out of bounds either way")]
            Kind::Whole(number) => Some(*number as Self),
            Kind::Real(number) => Some(*number),
            Kind::Flag(_) | Kind::Text(_) => None,
        }
    }
}

impl Readable for Duration {
    fn read(scalar: &Scalar) -> Option<Self> {
        match &scalar.0 {
            Kind::Text(text) => text.parse().ok().map(|ConfigDuration(duration)| duration),
            Kind::Whole(_) | Kind::Real(_) | Kind::Flag(_) => None,
        }
    }

    fn without_unit(scalar: &Scalar) -> Option<Self> {
        scalar.whole().and_then(|seconds| seconds.try_into().ok()).map(Self::from_secs)
    }
}

impl Scalar {
    /// Reads the value as a quantity within `bounds`. `key` is the whole key, as in `orders.timeout`.
    ///
    /// # Errors
    /// When the value is not such a quantity, or is out of bounds.
    pub fn within<T: Readable>(&self, key: &str, bounds: &Bounds<T>) -> Result<T, ConfigFault> {
        let good = |value: &T| bounds.contains(*value);
        if let Some(value) = T::read(self).filter(good) {
            return Ok(value);
        }
        if let Some(meant) = T::without_unit(self).filter(good) {
            let expected = format!("the unit is missing; for seconds write \"{}\"", meant.text());
            return Err(ConfigFault::value(key, self, expected));
        }
        Err(ConfigFault::OutOfBounds {
            key: key.to_owned(),
            bounds: bounds.refuse(hidden(&self.to_string())),
        })
    }

    /// Reads the value as a duration; a bare number counts `unit`s.
    pub(super) fn as_duration(&self, unit: Duration) -> Option<Duration> {
        match self.whole() {
            Some(number) => unit.checked_mul(number.try_into().ok()?),
            None => Duration::read(self),
        }
    }

    /// The value as TOML has it.
    pub(super) fn as_literal(&self) -> Option<String> {
        match &self.0 {
            Kind::Whole(_) | Kind::Flag(_) => Some(self.to_string()),
            Kind::Text(_) => serde_json::to_string(&hidden(&self.to_string())).ok(),
            Kind::Real(_) => None,
        }
    }

    /// Reads the value as a boolean: `true`, `false`, 1 or 0, or their spellings in an environment (`on`, `off`, `yes`,
    /// `no`).
    ///
    /// # Errors
    /// When the value is not a boolean.
    pub fn flag(&self, key: &str) -> Result<bool, ConfigFault> {
        let flag = match &self.0 {
            Kind::Flag(flag) => Some(*flag),
            Kind::Whole(0) => Some(false),
            Kind::Whole(1) => Some(true),
            Kind::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => Some(true),
                "false" | "off" | "no" | "0" => Some(false),
                _ => None,
            },
            Kind::Whole(_) | Kind::Real(_) => None,
        };
        flag.ok_or_else(|| ConfigFault::value(key, self, "must be true or false"))
    }

    /// A whole number, which may be written in quotes.
    fn whole(&self) -> Option<i128> {
        match &self.0 {
            Kind::Whole(number) => Some(*number),
            Kind::Text(text) if text.bytes().all(|c| c.is_ascii_digit()) => text.parse().ok(),
            Kind::Text(_) | Kind::Real(_) | Kind::Flag(_) => None,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Whole(number) => write!(f, "{number}"),
            // The environment's layer turns a whole number that is too large into a floating-point number.
            Kind::Real(number) if number.fract() == 0.0 && number.abs() < 1e21 => write!(f, "{number:.0}"),
            Kind::Real(number) => write!(f, "{number:?}"),
            Kind::Flag(flag) => write!(f, "{flag}"),
            Kind::Text(text) => {
                let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
                write!(f, "{shown}{}", if text.chars().count() > SHOWN { "…" } else { "" })
            }
        }
    }
}

impl From<Duration> for Scalar {
    fn from(duration: Duration) -> Self {
        Self(Kind::Text(duration.text()))
    }
}

impl From<i64> for Scalar {
    fn from(number: i64) -> Self {
        Self(Kind::Whole(number.into()))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a single value")
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar(Kind::Flag(flag)))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(Kind::Whole(number.into())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(Kind::Whole(number.into())))
            }

            fn visit_i128<E>(self, number: i128) -> Result<Scalar, E> {
                Ok(Scalar(Kind::Whole(number)))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(Kind::Real(number)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Kind::Text(text.to_owned())))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Bounds<u32> = Bounds::new(1, 9, "there are no more");
    const SHORT: Bounds<Duration> =
        Bounds::new(Duration::from_millis(1), Duration::from_secs(60), "nobody waits longer");
    const SHARE: Bounds<f64> = Bounds::new(0.0, 1.0, "it is a share");

    fn scalar(toml: &str) -> Scalar {
        #[derive(Deserialize)]
        struct One {
            x: Scalar,
        }
        toml::from_str::<One>(&format!("x = {toml}")).unwrap().x
    }

    #[test]
    fn what_is_within_is_read() {
        assert_eq!(scalar("9").within("a.b", &FEW).unwrap(), 9);
        assert_eq!(scalar("'9'").within("a.b", &FEW).unwrap(), 9);
        assert_eq!(scalar("'60s'").within("a.b", &SHORT).unwrap(), Duration::from_secs(60));
        assert_eq!(scalar("1").within("a.b", &SHARE).unwrap(), 1.0);
        assert_eq!(scalar("0.5").within("a.b", &SHARE).unwrap(), 0.5);
    }

    #[test]
    fn anything_else_is_refused_with_key_value_range_and_reason() {
        for text in
            ["0", "10", "-1", "1.0", "0.6", "nan", "inf", "true", "'yes'", "''", "'-1'", "'+1'", "4294967297"]
        {
            let said = scalar(text).within("a.b", &FEW).unwrap_err().to_string();
            let value = text.trim_matches('\'');
            let value = if value == "1.0" {
                "1"
            } else if value == "nan" {
                "NaN"
            } else {
                value
            };
            assert_eq!(
                said,
                format!("a.b = {value}: must be a whole number from 1 to 9; there are no more"),
                "{text}"
            );
        }
        for text in [
            "0",
            "'61s'",
            "-1",
            "1.5",
            "nan",
            "true",
            "'soon'",
            "9223372036854775807",
            "'9223372036854775807s'",
        ] {
            let said = scalar(text).within("a.b", &SHORT).unwrap_err().to_string();
            assert!(said.starts_with("a.b = ") && said.contains("from 1ms to 1m; nobody"), "{text}: {said}");
        }
        for text in ["-0.1", "1.1", "nan", "inf", "-inf", "true", "'0.5'", "9223372036854775807"] {
            assert!(scalar(text).within("a.b", &SHARE).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_the_spelling_that_is_meant() {
        for text in ["60", "'60'"] {
            let said = scalar(text).within("a.b", &SHORT).unwrap_err().to_string();
            assert_eq!(said, "a.b = 60: the unit is missing; for seconds write \"1m\"");
        }
        let said = scalar("61").within("a.b", &SHORT).unwrap_err().to_string();
        assert!(said.starts_with("a.b = 61: must be a duration"), "{said}");
    }

    #[test]
    fn a_switch_is_on_or_off_and_no_other_number() {
        for (text, flag) in [("true", true), ("1", true), ("'Yes'", true), ("0", false), ("'off'", false)] {
            assert_eq!(scalar(text).flag("a.b").unwrap(), flag, "{text}");
        }
        for text in ["2", "-1", "1.0", "nan", "'maybe'", "''"] {
            assert!(scalar(text).flag("a.b").is_err(), "{text}");
        }
    }

    #[test]
    fn a_message_repeats_no_control_characters_and_no_whole_file() {
        let long = format!("'{}'", "k".repeat(5_000));
        let said = scalar(&long).within("a.b", &FEW).unwrap_err().to_string();
        assert!(said.len() < 200, "{said}");
        let said = scalar(r#""\u001b[2J\n""#).within("a.b", &FEW).unwrap_err().to_string();
        assert!(!said.contains(['\u{1b}', '\n']), "{said:?}");
    }
}
