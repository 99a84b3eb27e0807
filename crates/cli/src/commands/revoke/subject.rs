//! What is revoked, and why, as a person writes it.

use avouch_spiffe::SpiffeId;
use avouch_text::check_remark;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The most hexadecimal digits of a serial number: 20 octets (RFC 5280 §4.1.2.2).
const SERIAL_DIGITS: usize = 40;

/// A revocation to be made.
#[derive(Debug, Clone)]
pub(crate) struct Revocation {
    pub(crate) subject: Subject,
    pub(crate) reason: Remark,
    /// How long an identity is revoked; absent: until it is undone.
    pub(crate) duration: Option<Duration>,
    pub(crate) dry_run: bool,
    pub(crate) force: bool,
}

/// The identity, or the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Identity(SpiffeId),
    /// A serial number, lower-case hexadecimal.
    Serial(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(id) => id.fmt(f),
            Self::Serial(serial) => write!(f, "serial:{serial}"),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(serial) = text.strip_prefix("serial:") {
            let problem = || {
                format!(
                    "a serial number is at most {SERIAL_DIGITS} hexadecimal digits, as `avouch cert list` shows it"
                )
            };
            return normal(serial).map(Self::Serial).ok_or_else(problem);
        }
        if text.starts_with("spiffe://") {
            return text.parse().map(Self::Identity).map_err(|error| format!("{error}"));
        }
        Err(format!("write spiffe://TRUST-DOMAIN/PATH or serial:HEXADECIMAL{}", meant(text)))
    }
}

/// The serial number as the issuer has it: people write colons and capitals.
fn normal(serial: &str) -> Option<String> {
    let digits: String = serial.chars().filter(|c| *c != ':').collect();
    let is_serial =
        (1..=SERIAL_DIGITS).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
    is_serial.then(|| digits.to_ascii_lowercase())
}

fn meant(text: &str) -> String {
    let with_scheme = format!("spiffe://{}", text.trim_start_matches('/'));
    let is_id = text.contains('/') && with_scheme.parse::<SpiffeId>().is_ok();
    match normal(text) {
        Some(serial) => format!("; did you mean serial:{serial}?"),
        None if is_id => format!("; did you mean {with_scheme}?"),
        None => String::new(),
    }
}

/// The operator's own words. Printable, and at most 500 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark(String);

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Remark {
    type Err = avouch_text::RemarkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_remark(text)?;
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_an_identity_or_a_serial_number_in_any_spelling() {
        for (text, expected) in [
            ("spiffe://market.example/orders", "spiffe://market.example/orders"),
            ("serial:0a1b", "serial:0a1b"),
            ("serial:0A:1B", "serial:0a1b"),
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), expected);
        }
        for text in
            ["", "serial:", "serial:xyz", "serial:0a1b ", "orders", "SPIFFE://a/b", &"serial:".repeat(9)]
        {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
        assert!(format!("serial:{}", "a".repeat(41)).parse::<Subject>().is_err());
    }

    #[test]
    fn a_scheme_that_was_left_out_is_suggested() {
        for (text, expected) in [
            ("0A:1b", "did you mean serial:0a1b?"),
            ("market.example/orders", "did you mean spiffe://market.example/orders?"),
            ("//market.example/orders", "did you mean spiffe://market.example/orders?"),
        ] {
            let error = text.parse::<Subject>().unwrap_err();
            assert!(error.ends_with(expected), "{text}: {error}");
        }
        let error = "orders".parse::<Subject>().unwrap_err();
        assert!(error.ends_with("serial:HEXADECIMAL"), "{error}");
    }
}
