//! SPIFFE IDs, trust domains and callers of a policy: taken exactly when the grammar says so, and given back unchanged.

use avouch_authz::CallerPattern;
use avouch_spiffe::{SpiffeId, TrustDomain};

use super::Outcome;
use crate::oracle::{is_spiffe_id, is_trust_domain, is_workload_id};

pub(super) const WORDS: &[&str] = &[
    "spiffe://",
    "SPIFFE://",
    "market.example",
    "/orders",
    "/",
    "//",
    "/.",
    "/..",
    "/...",
    "%2e",
    "?",
    "#",
    "@",
    ":443",
    "*",
    "/*",
    "A",
    "\u{0}",
    "ä",
    "/avouch",
    "xn--",
    "_",
    "-",
];

pub(super) fn run(data: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(data) else { return Outcome::Refused };
    domain(text);
    pattern(text);
    let parsed = text.parse::<SpiffeId>();
    assert_eq!(parsed.is_ok(), is_spiffe_id(text), "{text:?} as a SPIFFE ID: {parsed:?}");
    let outcome = Outcome::from(&parsed);
    if let Ok(id) = parsed {
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
        assert_eq!(SpiffeId::new(id.trust_domain(), id.path()).as_ref(), Ok(&id));
        assert_eq!(id.is_root(), !is_workload_id(text));
        let reserved = format!("{}/", id.path()).starts_with("/avouch/");
        assert_eq!(id.is_reserved(), reserved, "{text:?}");
    }
    outcome
}

fn domain(text: &str) {
    let parsed = text.parse::<TrustDomain>();
    assert_eq!(parsed.is_ok(), is_trust_domain(text.as_bytes()), "{text:?} as a trust domain: {parsed:?}");
    if let Ok(domain) = parsed {
        assert_eq!(domain.as_str(), text);
        assert_eq!(domain.id().to_string(), format!("spiffe://{text}"));
    }
}

fn pattern(text: &str) {
    let parsed = text.parse::<CallerPattern>();
    let right = match text.strip_suffix("/*") {
        Some(parent) => is_spiffe_id(parent),
        None => is_workload_id(text),
    };
    assert_eq!(parsed.is_ok(), right, "{text:?} as a caller: {parsed:?}");
    if let Ok(pattern) = parsed {
        assert_eq!(pattern.to_string(), text);
    }
}
