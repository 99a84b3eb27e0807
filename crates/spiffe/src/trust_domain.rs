//! Trust domain names (SPIFFE-ID §2.1).
//!
//! *Specification*: non-empty; characters `a-z 0-9 . - _`; no user info, no port, no percent-encoding; at most 255
//! bytes; nothing special about names that look like an IP address or a DNS name.
//! *Enforced here*: all of it. Upper case is refused rather than folded (SPIFFE-ID §2.4 calls names
//! case-insensitive, §2.1 demands lower case): one identity has one spelling, so that comparing bytes is enough.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Display};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::error::SpiffeIdError;

/// The longest trust domain name, in bytes.
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// The name of a trust domain, such as `market.example`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The name, without scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a name against the grammar.
pub(crate) fn check(name: &str) -> Result<(), SpiffeIdError> {
    if name.is_empty() {
        return Err(SpiffeIdError::TrustDomainEmpty);
    }
    if name.len() > MAX_TRUST_DOMAIN_BYTES {
        return Err(SpiffeIdError::TrustDomainTooLong);
    }
    match name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')) {
        None => Ok(()),
        Some('%') => Err(SpiffeIdError::PercentEncoding),
        Some('@') => Err(SpiffeIdError::UserInfo),
        Some(':') => Err(SpiffeIdError::Port),
        Some('?') => Err(SpiffeIdError::Query),
        Some('#') => Err(SpiffeIdError::Fragment),
        Some('A'..='Z') => Err(SpiffeIdError::TrustDomainNotLowerCase),
        Some(other) => Err(SpiffeIdError::TrustDomainCharacter(other)),
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    /// Parses a name. A SPIFFE ID is not a name: use [`SpiffeId::trust_domain`](crate::SpiffeId::trust_domain).
    fn from_str(name: &str) -> Result<Self, SpiffeIdError> {
        check(name)?;
        Ok(Self(Arc::from(name)))
    }
}

impl TryFrom<&str> for TrustDomain {
    type Error = SpiffeIdError;

    fn try_from(name: &str) -> Result<Self, SpiffeIdError> {
        name.parse()
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = SpiffeIdError;

    fn try_from(name: String) -> Result<Self, SpiffeIdError> {
        name.parse()
    }
}

impl Borrow<str> for TrustDomain {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for TrustDomain {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.as_str())
    }
}

impl Serialize for TrustDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TrustDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_whole_alphabet_are_taken_as_they_are() {
        for name in ["market.example", "a", "1.2.3.4", "under_score", "-", "..", "xn--mnchen-3ya.example"] {
            assert_eq!(name.parse::<TrustDomain>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn each_clause_of_the_grammar_has_its_own_refusal() {
        for (name, expected) in [
            ("", SpiffeIdError::TrustDomainEmpty),
            ("Market.example", SpiffeIdError::TrustDomainNotLowerCase),
            ("user@market.example", SpiffeIdError::UserInfo),
            ("market.example:443", SpiffeIdError::Port),
            ("market%2eexample", SpiffeIdError::PercentEncoding),
            ("market.example?x", SpiffeIdError::Query),
            ("market.example#x", SpiffeIdError::Fragment),
            ("[::1]", SpiffeIdError::TrustDomainCharacter('[')),
            ("münchen.example", SpiffeIdError::TrustDomainCharacter('ü')),
            ("market.example/a", SpiffeIdError::TrustDomainCharacter('/')),
            ("market example", SpiffeIdError::TrustDomainCharacter(' ')),
            ("market.example\0", SpiffeIdError::TrustDomainCharacter('\0')),
            ("spiffe://market.example", SpiffeIdError::Port),
        ] {
            assert_eq!(name.parse::<TrustDomain>(), Err(expected), "{name:?}");
        }
    }

    #[test]
    fn a_name_of_255_bytes_is_taken_and_one_of_256_refused() {
        assert!("a".repeat(255).parse::<TrustDomain>().is_ok());
        assert_eq!("a".repeat(256).parse::<TrustDomain>(), Err(SpiffeIdError::TrustDomainTooLong));
    }

    #[test]
    fn serde_parses_and_refuses_like_from_str() {
        let name: TrustDomain = serde_json::from_str("\"market.example\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"market.example\"");
        assert!(serde_json::from_str::<TrustDomain>("\"Market\"").is_err());
    }
}
