//! SPIFFE IDs (SPIFFE-ID §2): `spiffe://trust-domain/path`.
//!
//! *Specification*: scheme `spiffe`, a trust domain, a path of non-empty segments of `a-z A-Z 0-9 . - _` that are
//! neither `.` nor `..`, no trailing slash, no percent-encoding, no query, no fragment; IDs of up to 2048 bytes are
//! supported. *Enforced here*: all of it, and the 2048 bytes as an upper limit. Upper case in the scheme or the trust
//! domain is refused, not folded, so that equal identities are equal bytes.

pub(crate) mod error;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt::{self, Debug, Display};
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::error::SpiffeIdError;
use crate::trust_domain::{self, TrustDomain};

/// The longest SPIFFE ID, in bytes, scheme included.
pub const MAX_SPIFFE_ID_BYTES: usize = 2048;

const SCHEME: &str = "spiffe://";

/// The path under which avouch keeps all identities for itself.
const RESERVED: &str = "/avouch";

/// The path of an issuer.
const ISSUER: &str = "/avouch/issuer";

/// A SPIFFE ID. Cheap to clone; equality, order and hash are those of its text.
#[derive(Clone)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Composes an ID of a trust domain and a path, which is empty or starts with `/`.
    ///
    /// # Errors
    ///
    /// The clause that the path breaks, or [`SpiffeIdError::TooLong`].
    pub fn new(trust_domain: &TrustDomain, path: &str) -> Result<Self, SpiffeIdError> {
        check_path(path)?;
        let text = format!("{SCHEME}{trust_domain}{path}");
        if text.len() > MAX_SPIFFE_ID_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        Ok(Self { text: text.into(), trust_domain: trust_domain.clone() })
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path: empty for the ID of a trust domain itself, else starting with `/`.
    pub fn path(&self) -> &str {
        let start = SCHEME.len().saturating_add(self.trust_domain.as_str().len());
        self.text.get(start..).unwrap_or_default()
    }

    /// Whether this is the ID of a trust domain itself, which no workload may bear.
    pub fn is_root(&self) -> bool {
        self.path().is_empty()
    }

    /// Whether the path is `/avouch` or below it: kept for avouch's own processes, never given to an entry.
    pub fn is_reserved(&self) -> bool {
        self.path().strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl TrustDomain {
    /// The SPIFFE ID of the trust domain itself: the one that has no path.
    pub fn id(&self) -> SpiffeId {
        SpiffeId { text: format!("{SCHEME}{self}").into(), trust_domain: self.clone() }
    }

    /// The SPIFFE ID of every issuer of the trust domain: the longest name leaves room for its path.
    pub fn issuer_id(&self) -> SpiffeId {
        SpiffeId { text: format!("{SCHEME}{self}{ISSUER}").into(), trust_domain: self.clone() }
    }
}

/// Whether a URI claims the scheme `spiffe`, in any case: such a URI must then be a SPIFFE ID.
pub(crate) fn claims_scheme(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("spiffe"))
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    if path.is_empty() {
        return Ok(());
    }
    let segments = path.strip_prefix('/').ok_or(SpiffeIdError::PathNotAbsolute)?;
    if let Some(bad) =
        segments.chars().find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' | '/'))
    {
        return Err(match bad {
            '%' => SpiffeIdError::PercentEncoding,
            '?' => SpiffeIdError::Query,
            '#' => SpiffeIdError::Fragment,
            other => SpiffeIdError::PathCharacter(other),
        });
    }
    if path.ends_with('/') {
        return Err(SpiffeIdError::TrailingSlash);
    }
    for segment in segments.split('/') {
        match segment {
            "" => return Err(SpiffeIdError::EmptySegment),
            "." | ".." => return Err(SpiffeIdError::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        if text.len() > MAX_SPIFFE_ID_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        let Some(rest) = text.strip_prefix(SCHEME) else {
            let folded = text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME));
            return Err(if folded { SpiffeIdError::SchemeNotLowerCase } else { SpiffeIdError::WrongScheme });
        };
        let (name, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        trust_domain::check(name)?;
        check_path(path)?;
        Ok(Self { text: Arc::from(text), trust_domain: name.parse()? })
    }
}

impl TryFrom<&str> for SpiffeId {
    type Error = SpiffeIdError;

    fn try_from(text: &str) -> Result<Self, SpiffeIdError> {
        text.parse()
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = SpiffeIdError;

    fn try_from(text: String) -> Result<Self, SpiffeIdError> {
        text.parse()
    }
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SpiffeId {}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for SpiffeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Borrow<str> for SpiffeId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for SpiffeId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.as_str())
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_gives_back_its_parts() {
        let id: SpiffeId = "spiffe://market.example/staff/Alice_1".parse().unwrap();
        assert_eq!(id.as_str(), "spiffe://market.example/staff/Alice_1");
        assert_eq!(id.trust_domain().as_str(), "market.example");
        assert_eq!(id.path(), "/staff/Alice_1");
        assert!(!id.is_root());
        assert_eq!(SpiffeId::new(id.trust_domain(), id.path()), Ok(id));
    }

    #[test]
    fn the_id_of_a_trust_domain_has_no_path() {
        let id: SpiffeId = "spiffe://market.example".parse().unwrap();
        assert_eq!(id.path(), "");
        assert!(id.is_root());
        assert_eq!(id.trust_domain().id(), id);
    }

    #[test]
    fn each_clause_of_the_grammar_has_its_own_refusal() {
        for (text, expected) in [
            ("", SpiffeIdError::Empty),
            ("market.example", SpiffeIdError::WrongScheme),
            ("https://market.example/a", SpiffeIdError::WrongScheme),
            ("spiffe:/market.example/a", SpiffeIdError::WrongScheme),
            ("SPIFFE://market.example/a", SpiffeIdError::SchemeNotLowerCase),
            ("Spiffe://market.example/a", SpiffeIdError::SchemeNotLowerCase),
            ("spiffe://", SpiffeIdError::TrustDomainEmpty),
            ("spiffe:///a", SpiffeIdError::TrustDomainEmpty),
            ("spiffe://MARKET.example/a", SpiffeIdError::TrustDomainNotLowerCase),
            ("spiffe://u:p@market.example/a", SpiffeIdError::Port),
            ("spiffe://u@market.example/a", SpiffeIdError::UserInfo),
            ("spiffe://market.example:1/a", SpiffeIdError::Port),
            ("spiffe://market%2eexample/a", SpiffeIdError::PercentEncoding),
            ("spiffe://market.example?a", SpiffeIdError::Query),
            ("spiffe://market.example#a", SpiffeIdError::Fragment),
            ("spiffe://market.example/", SpiffeIdError::TrailingSlash),
            ("spiffe://market.example/a/", SpiffeIdError::TrailingSlash),
            ("spiffe://market.example//a", SpiffeIdError::EmptySegment),
            ("spiffe://market.example/a//b", SpiffeIdError::EmptySegment),
            ("spiffe://market.example/./a", SpiffeIdError::DotSegment),
            ("spiffe://market.example/a/..", SpiffeIdError::DotSegment),
            ("spiffe://market.example/a%2fb", SpiffeIdError::PercentEncoding),
            ("spiffe://market.example/a?b", SpiffeIdError::Query),
            ("spiffe://market.example/a#b", SpiffeIdError::Fragment),
            ("spiffe://market.example/a b", SpiffeIdError::PathCharacter(' ')),
            ("spiffe://market.example/ä", SpiffeIdError::PathCharacter('ä')),
            ("spiffe://market.example/a\n", SpiffeIdError::PathCharacter('\n')),
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn segments_of_dots_that_are_not_dot_segments_are_names() {
        assert!("spiffe://market.example/.../.a/a.".parse::<SpiffeId>().is_ok());
    }

    #[test]
    fn an_id_of_2048_bytes_is_taken_and_one_of_2049_refused() {
        let prefix = "spiffe://market.example/";
        let fits = format!("{prefix}{}", "a".repeat(2048 - prefix.len()));
        let domain: TrustDomain = "market.example".parse().unwrap();
        let parsed: SpiffeId = fits.parse().unwrap();
        assert_eq!(format!("{fits}a").parse::<SpiffeId>(), Err(SpiffeIdError::TooLong));
        assert_eq!(SpiffeId::new(&domain, &format!("{}a", parsed.path())), Err(SpiffeIdError::TooLong));
    }

    #[test]
    fn a_path_on_its_own_must_be_absolute() {
        let domain: TrustDomain = "market.example".parse().unwrap();
        assert_eq!(SpiffeId::new(&domain, "a"), Err(SpiffeIdError::PathNotAbsolute));
    }

    #[test]
    fn the_path_is_case_sensitive() {
        let lower: SpiffeId = "spiffe://market.example/a".parse().unwrap();
        let upper: SpiffeId = "spiffe://market.example/A".parse().unwrap();
        assert_ne!(lower, upper);
    }

    #[test]
    fn reserved_is_the_segment_and_not_its_prefix() {
        for (path, reserved) in [
            ("/avouch", true),
            ("/avouch/issuer", true),
            ("/avouchers", false),
            ("/a/avouch", false),
            ("", false),
        ] {
            let id: SpiffeId = format!("spiffe://market.example{path}").parse().unwrap();
            assert_eq!(id.is_reserved(), reserved, "{path}");
        }
    }

    #[test]
    fn a_set_of_ids_is_searched_by_text() {
        let ids: HashSet<SpiffeId> = ["spiffe://market.example/a".parse().unwrap()].into();
        assert!(ids.contains("spiffe://market.example/a"));
        assert!(!ids.contains("spiffe://market.example/b"));
    }

    #[test]
    fn serde_parses_and_refuses_like_from_str() {
        let id: SpiffeId = serde_json::from_str("\"spiffe://market.example/a\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"spiffe://market.example/a\"");
        assert!(serde_json::from_str::<SpiffeId>("\"spiffe://market.example/\"").is_err());
    }
}
