//! The callers that a line of the policy applies to: one SPIFFE ID, or everything below a path.
//!
//! A prefix ends at a segment boundary (`spiffe://td/pay/*` matches `/pay/x`, never `/payments` and not `/pay` itself),
//! and a pattern always names its trust domain: a path alone would match a caller of every federated domain.

use std::fmt;
use std::str::FromStr;

use avouch_spiffe::{SpiffeId, SpiffeIdError};

/// A caller, or all callers below a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallerPattern {
    /// This ID and no other.
    Exact(SpiffeId),
    /// Every ID strictly below this one.
    Below(SpiffeId),
}

/// The reason why a text is not a valid pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It does not begin with `spiffe://TRUST-DOMAIN`.
    #[error("it has no trust domain; write spiffe://TRUST-DOMAIN/PATH")]
    NoTrustDomain,
    /// A star that is not the whole last segment.
    #[error("a * may only be the whole last segment, as in spiffe://TRUST-DOMAIN/PATH/*")]
    Star,
    /// A trust domain without a path.
    #[error("it names a trust domain and nobody in it; write its path, or /* for everybody in it")]
    NoPath,
    /// It does not follow the grammar of SPIFFE IDs.
    #[error("it is not a SPIFFE ID: {0}")]
    Id(#[from] SpiffeIdError),
}

impl CallerPattern {
    /// Whether the pattern matches `id`.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Exact(exact) => exact == id,
            Self::Below(parent) => {
                let below = id.as_str().strip_prefix(parent.as_str());
                below.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
            }
        }
    }
}

impl FromStr for CallerPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if !text.starts_with("spiffe://") {
            return Err(PatternError::NoTrustDomain);
        }
        if let Some(parent) = text.strip_suffix("/*")
            && !parent.contains('*')
        {
            return Ok(Self::Below(parent.parse()?));
        }
        if text.contains('*') {
            return Err(PatternError::Star);
        }
        let id: SpiffeId = text.parse()?;
        if id.path().is_empty() { Err(PatternError::NoPath) } else { Ok(Self::Exact(id)) }
    }
}

impl fmt::Display for CallerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(id) => write!(f, "{id}"),
            Self::Below(parent) => write!(f, "{parent}/*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        pattern.parse::<CallerPattern>().unwrap().matches(&id.parse().unwrap())
    }

    #[test]
    fn a_prefix_ends_at_a_segment_boundary() {
        assert!(matches("spiffe://td.example/pay/*", "spiffe://td.example/pay/x"));
        assert!(matches("spiffe://td.example/pay/*", "spiffe://td.example/pay/x/y"));
        assert!(!matches("spiffe://td.example/pay/*", "spiffe://td.example/payments"));
        assert!(!matches("spiffe://td.example/pay/*", "spiffe://td.example/payments/x"));
        assert!(!matches("spiffe://td.example/pay/*", "spiffe://td.example/pay"));
    }

    #[test]
    fn a_prefix_of_a_whole_domain_does_not_reach_into_a_longer_domain() {
        assert!(matches("spiffe://td.example/*", "spiffe://td.example/a"));
        assert!(!matches("spiffe://td.example/*", "spiffe://td.example.evil/a"));
        assert!(!matches("spiffe://td.example/*", "spiffe://td.example"));
    }

    #[test]
    fn a_pattern_without_a_trust_domain_is_refused() {
        for text in ["", "/pay", "/pay/*", "pay", "*", "td.example/pay", "https://td.example/pay"] {
            assert_eq!(text.parse::<CallerPattern>(), Err(PatternError::NoTrustDomain), "{text}");
        }
        assert!(matches!("spiffe:///pay/*".parse::<CallerPattern>(), Err(PatternError::Id(_))));
    }

    #[test]
    fn a_star_anywhere_but_as_the_last_segment_is_refused() {
        for text in [
            "spiffe://td.example/pay*",
            "spiffe://td.example/*/x",
            "spiffe://*/x",
            "spiffe://td.example/p*/*",
            "spiffe://*/*",
            "spiffe://td.example/**",
        ] {
            assert_eq!(text.parse::<CallerPattern>(), Err(PatternError::Star), "{text}");
        }
    }

    #[test]
    fn a_bare_trust_domain_is_refused() {
        assert_eq!("spiffe://td.example".parse::<CallerPattern>(), Err(PatternError::NoPath));
    }

    #[test]
    fn text_that_is_no_spiffe_id_is_refused() {
        for text in
            ["spiffe://td.example//x", "spiffe://TD.example/x", "spiffe://td.example/x/", "spiffe:///x"]
        {
            assert!(matches!(text.parse::<CallerPattern>(), Err(PatternError::Id(_))), "{text}");
        }
    }

    #[test]
    fn a_pattern_prints_as_it_was_written() {
        for text in ["spiffe://td.example/pay", "spiffe://td.example/pay/*", "spiffe://td.example/*"] {
            assert_eq!(text.parse::<CallerPattern>().unwrap().to_string(), text);
        }
    }
}
