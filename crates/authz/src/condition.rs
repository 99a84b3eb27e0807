//! Conditions of a line of the policy on a caller's certificate, beside its SPIFFE ID: how old it may be, and which it is.
//!
//! Conditions fail closed. Where the fact that one asks for is not known (no certificate, a clock before the certificate's
//! beginning, an issuer without a key identifier), a role is not granted, and a deny rule applies.

use std::fmt;
use std::time::{Duration, SystemTime};

use avouch_spiffe::PeerIdentity;
use avouch_time::duration;

/// The longest key identifier in use: a SHA-512.
const MAX_KEY_ID_OCTETS: usize = 64;
/// The shortest: the 60 bits of RFC 5280 §4.2.1.2 (2) with their type.
const MIN_KEY_ID_OCTETS: usize = 8;
/// The longest serial number (RFC 5280 §4.1.2.2).
const MAX_SERIAL_OCTETS: usize = 20;
const SHA256_OCTETS: usize = 32;

/// The known facts about a caller's certificate. Everything is optional: an unknown fact meets no condition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Certificate<'a> {
    /// The first second of its validity.
    pub not_before: Option<SystemTime>,
    /// The time at which its age is taken; only needed under a policy with a condition on age
    /// ([`Policy::asks_for_the_time`](crate::Policy::asks_for_the_time)).
    pub now: Option<SystemTime>,
    /// SHA-256 of its `SubjectPublicKeyInfo`, lower-case hexadecimal.
    pub spki_sha256: Option<&'a str>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub sha256: Option<&'a str>,
    /// The key identifier of the authority that signed it, lower-case hexadecimal.
    pub issuer_key_id: Option<&'a str>,
    /// Its serial number, lower-case hexadecimal.
    pub serial: Option<&'a str>,
}

impl<'a> Certificate<'a> {
    /// The facts about a verified peer's certificate, without the time.
    #[must_use]
    pub fn of(peer: &'a PeerIdentity) -> Self {
        Self {
            not_before: Some(peer.not_before()),
            now: None,
            spki_sha256: Some(peer.spki_sha256()),
            sha256: Some(peer.fingerprint()),
            issuer_key_id: peer.issuer_key_id(),
            serial: Some(without_sign(peer.serial())),
        }
    }

    /// How long ago its validity began; `None` if that is not known or lies in the future.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.now?.duration_since(self.not_before?).ok()
    }
}

/// The condition of one line of the policy; an empty one always holds. Lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Condition {
    /// The certificate is at most this old.
    pub(crate) max_age: Option<Duration>,
    /// The certificate is older than this; deny rules only.
    pub(crate) older_than: Option<Duration>,
    /// It has one of these keys.
    pub(crate) spki_sha256: Vec<String>,
    /// It is one of these certificates.
    pub(crate) sha256: Vec<String>,
    /// It is signed by one of these authorities.
    pub(crate) issuer_key_id: Vec<String>,
    /// It has one of these serial numbers of that authority.
    pub(crate) serial: Vec<String>,
}

/// The reason why a condition does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetCondition {
    /// The condition's key in the policy file.
    pub condition: &'static str,
    /// What the certificate has.
    pub got: String,
    /// What the policy asks for.
    pub want: String,
    /// Whether the fact is unknown, rather than another than wanted.
    pub unknown: bool,
}

impl fmt::Display for UnmetCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} asks for {}, and the certificate has {}", self.condition, self.want, self.got)
    }
}

impl Condition {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn asks_for_the_time(&self) -> bool {
        self.max_age.is_some() || self.older_than.is_some()
    }

    /// Whether a role with this condition is held.
    pub(crate) fn grants(&self, certificate: Option<&Certificate<'_>>) -> bool {
        self.is_empty() || certificate.is_some_and(|certificate| self.unmet(certificate).is_none())
    }

    /// Whether a deny rule with this condition applies; it also does where the fact is unknown.
    pub(crate) fn denies(&self, certificate: Option<&Certificate<'_>>) -> bool {
        self.is_empty()
            || certificate.is_none_or(|certificate| self.parts(certificate).all(|part| part != Some(false)))
    }

    /// The first part that does not hold.
    pub(crate) fn unmet(&self, certificate: &Certificate<'_>) -> Option<UnmetCondition> {
        let parts = self.parts(certificate).zip(KEYS);
        let (held, key) = parts.into_iter().find(|(held, _)| *held != Some(true))?;
        let (got, want) = self.got_and_want(key, certificate);
        Some(UnmetCondition { condition: key, got, want, unknown: held.is_none() })
    }

    /// Whether each part holds, in the order of [`KEYS`]: `None` if the fact is unknown. A part that is not asked for holds.
    fn parts(&self, certificate: &Certificate<'_>) -> impl Iterator<Item = Option<bool>> {
        let age = |limit: Option<Duration>, holds: fn(Duration, Duration) -> bool| match limit {
            None => Some(true),
            Some(limit) => certificate.age().map(|age| holds(age, limit)),
        };
        let pin = |pins: &[String], fact: Option<&str>| {
            let among = |fact: &str| pins.binary_search_by(|pin| pin.as_str().cmp(fact)).is_ok();
            if pins.is_empty() { Some(true) } else { fact.map(among) }
        };
        [
            age(self.max_age, |age, limit| age <= limit),
            age(self.older_than, |age, limit| age > limit),
            pin(&self.spki_sha256, certificate.spki_sha256),
            pin(&self.sha256, certificate.sha256),
            pin(&self.issuer_key_id, certificate.issuer_key_id),
            pin(&self.serial, certificate.serial),
        ]
        .into_iter()
    }

    fn got_and_want(&self, key: &'static str, certificate: &Certificate<'_>) -> (String, String) {
        let fact = |fact: Option<&str>| fact.unwrap_or("none that is known").to_owned();
        let old = |age: Option<Duration>, limit: Option<Duration>| {
            let limit = limit.unwrap_or_default();
            match age {
                // Rounded to two units, an age just past the limit reads like the limit itself.
                Some(age) if duration::rounded(age) == duration::rounded(limit) => {
                    format!("an age of {}s", age.as_secs_f64().ceil())
                }
                Some(age) => format!("an age of {}", duration::rounded(age)),
                None => "an age that is not known".to_owned(),
            }
        };
        let limit = |word: &str, limit: Option<Duration>| {
            format!("{word} {}", duration::rounded(limit.unwrap_or_default()))
        };
        match key {
            MAX_AGE => (old(certificate.age(), self.max_age), limit("at most", self.max_age)),
            OLDER_THAN => (old(certificate.age(), self.older_than), limit("more than", self.older_than)),
            SPKI => (fact(certificate.spki_sha256), self.spki_sha256.join(" or ")),
            SHA256 => (fact(certificate.sha256), self.sha256.join(" or ")),
            ISSUER => (fact(certificate.issuer_key_id), self.issuer_key_id.join(" or ")),
            _ => (fact(certificate.serial), self.serial.join(" or ")),
        }
    }
}

pub(crate) const MAX_AGE: &str = "max_certificate_age";
pub(crate) const OLDER_THAN: &str = "certificate_older_than";
pub(crate) const SPKI: &str = "spki_sha256";
pub(crate) const SHA256: &str = "cert_sha256";
pub(crate) const ISSUER: &str = "issuer_key_id";
pub(crate) const SERIAL: &str = "serial";
/// The keys of the policy file, in the order of a condition's parts.
pub(crate) const KEYS: [&str; 6] = [MAX_AGE, OLDER_THAN, SPKI, SHA256, ISSUER, SERIAL];

impl fmt::Display for Condition {
    /// As it could be written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ages = [(MAX_AGE, self.max_age), (OLDER_THAN, self.older_than)];
        let ages = ages.into_iter().filter_map(|(key, age)| Some((key, duration::rounded(age?))));
        let pins = [
            (SPKI, &self.spki_sha256),
            (SHA256, &self.sha256),
            (ISSUER, &self.issuer_key_id),
            (SERIAL, &self.serial),
        ];
        let pins = pins.into_iter().filter(|(_, pins)| !pins.is_empty());
        let parts: Vec<_> = ages
            .chain(pins.map(|(key, pins)| (key, pins.join(" or "))))
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

/// Why a text is not a valid pin of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// It is not hexadecimal.
    #[error("it is not hexadecimal; write pairs of digits, with colons between them or without")]
    NotHex,
    /// It has another length than such values have.
    #[error("it has {got} octets instead of {want}")]
    Length {
        /// How many it has.
        got: usize,
        /// How many it may have.
        want: &'static str,
    },
}

/// The pin that `text` writes, in the form of [`Certificate`]'s facts: lower case, no separators.
pub(crate) fn pin(key: &str, text: &str) -> Result<String, PinError> {
    let hex: String = if text.contains(':') {
        if text.split(':').any(|pair| pair.len() != 2) {
            return Err(PinError::NotHex);
        }
        text.chars().filter(|c| *c != ':').collect()
    } else {
        text.to_owned()
    };
    let hex = hex.to_ascii_lowercase();
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(PinError::NotHex);
    }
    // A serial number is an integer: leading zero octets are no part of it.
    let hex = if key == SERIAL { without_sign(&hex).to_owned() } else { hex };
    let (lengths, want) = match key {
        SPKI | SHA256 => (SHA256_OCTETS..=SHA256_OCTETS, "32"),
        ISSUER => (MIN_KEY_ID_OCTETS..=MAX_KEY_ID_OCTETS, "8 to 64"),
        _ => (1..=MAX_SERIAL_OCTETS, "1 to 20"),
    };
    let got = hex.len() / 2;
    if lengths.contains(&got) { Ok(hex) } else { Err(PinError::Length { got, want }) }
}

fn without_sign(mut hex: &str) -> &str {
    while let Some(rest) = hex.strip_prefix("00")
        && !rest.is_empty()
    {
        hex = rest;
    }
    hex
}
