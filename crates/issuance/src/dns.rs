//! DNS names that stand beside the SPIFFE ID, for peers that insist on one. They authorize nothing.
//!
//! Refused: wildcards, IP addresses, upper case, underscores, trailing dots: a name has one spelling.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A DNS host name in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// A text that is not a DNS name for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DnsNameError {
    /// Empty, or longer than 253 bytes.
    #[error("a DNS name must have 1 to 253 bytes")]
    Length,
    /// A label is empty or longer than 63 bytes.
    #[error("each label of a DNS name must have 1 to 63 bytes")]
    Label,
    /// A character other than `a-z`, `0-9`, `-` and `.`.
    #[error("the character {0:?} is not allowed in a DNS name: only a-z, 0-9, '-' and '.' are")]
    Character(char),
    /// A label begins or ends with a hyphen.
    #[error("a label of a DNS name must not begin or end with '-'")]
    Hyphen,
    /// An IP address.
    #[error("an IP address is not a DNS name")]
    IpAddress,
}

impl DnsName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        if text.is_empty() || text.len() > MAX_NAME {
            return Err(DnsNameError::Length);
        }
        if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.')) {
            return Err(DnsNameError::Character(bad));
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(DnsNameError::IpAddress);
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > MAX_LABEL {
                return Err(DnsNameError::Label);
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(DnsNameError::Hyphen);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for DnsName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DnsName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_taken() {
        for name in ["localhost", "ledger.market.example", "a-b.1c"] {
            assert_eq!(name.parse::<DnsName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn each_rule_has_its_own_refusal() {
        for (text, expected) in [
            (String::new(), DnsNameError::Length),
            ("a".repeat(254), DnsNameError::Length),
            ("a".repeat(64), DnsNameError::Label),
            ("a..b".into(), DnsNameError::Label),
            ("a.".into(), DnsNameError::Label),
            ("*.market.example".into(), DnsNameError::Character('*')),
            ("Market.example".into(), DnsNameError::Character('M')),
            ("a_b".into(), DnsNameError::Character('_')),
            ("a\0b".into(), DnsNameError::Character('\0')),
            ("127.0.0.1".into(), DnsNameError::IpAddress),
            ("::1".into(), DnsNameError::Character(':')),
            ("-a".into(), DnsNameError::Hyphen),
            ("a-.b".into(), DnsNameError::Hyphen),
        ] {
            assert_eq!(text.parse::<DnsName>(), Err(expected), "{text:?}");
        }
    }
}
