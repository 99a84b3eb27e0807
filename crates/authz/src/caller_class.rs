//! All callers, in finitely many classes that given policies cannot tell apart, each with a representative. A table of a
//! policy, or the difference of two, is complete because it goes over these classes.
//!
//! *Why that is complete.* [`decide`](crate::decide) sees of a SPIFFE ID only which patterns of the policy match it. An ID
//! that some pattern names exactly is a class of its own. Any other ID is matched by prefixes alone, and by all prefixes
//! above the deepest one that matches it; so all IDs with the same deepest prefix are one class, "everybody else below"
//! it. IDs that no prefix matches are matched by nothing: one class per trust domain that the policies name, so that the
//! table can be read, and one for all other domains. Of a certificate it sees only on which side of the named ages it
//! lies, and which of the named pins it has, one of them or none. Each combination is tried, and so are an unknown age and
//! an unknown issuer; a verified peer's key, fingerprint and serial number are always known.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use avouch_spiffe::{SpiffeId, TrustDomain};
use avouch_time::duration;
use serde::{Serialize, Serializer};

use crate::condition::{Certificate, Condition};
use crate::decide::Caller;
use crate::pattern::CallerPattern;
use crate::policy::Policy;

/// The most kinds of certificates of one class of callers: conditions multiply, and each kind is tried on each RPC.
pub const MAX_CERTIFICATES: usize = 4096;
/// The name of a representative, unless a policy names it.
const SOMEBODY: &str = "somebody-else";

/// A class of callers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallerClass {
    /// Callers who showed no certificate.
    Anonymous,
    /// The local administrator.
    LocalAdmin,
    /// One SPIFFE ID that a policy names.
    Exact(SpiffeId),
    /// Every ID below this one that belongs to no other class.
    Below(SpiffeId),
    /// Every ID of this trust domain that belongs to no other class.
    Domain(TrustDomain),
    /// Every ID of a trust domain that no policy names.
    Foreign,
}

impl fmt::Display for CallerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("(anonymous)"),
            Self::LocalAdmin => f.write_str("(local admin)"),
            Self::Exact(id) => write!(f, "{id}"),
            Self::Below(parent) => write!(f, "{parent}/* (everybody else below it)"),
            Self::Domain(domain) => write!(f, "(anybody else of {domain})"),
            Self::Foreign => f.write_str("(any other trust domain)"),
        }
    }
}

impl Serialize for CallerClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Conditions of the policies make too many kinds of certificates of one class to try them all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the conditions on {class} make more than {MAX_CERTIFICATES} kinds of certificates; split its bindings up"
)]
pub struct TooManyCertificates {
    /// The class.
    pub class: CallerClass,
}

/// A class of callers with a representative.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) class: CallerClass,
    /// `None` for callers without a SPIFFE ID.
    pub(crate) representative: Option<SpiffeId>,
    /// Every kind of certificate that the policies tell apart; one kind without facts, if they have no conditions.
    pub(crate) certificates: Vec<CertificateKind>,
}

/// A kind of certificate: one combination of the facts that conditions ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct CertificateKind {
    /// The kind in words; empty if the policies have no conditions.
    pub(crate) label: String,
    age: Option<Duration>,
    spki_sha256: Option<String>,
    sha256: Option<String>,
    issuer_key_id: Option<String>,
    serial: Option<String>,
}

impl Class {
    /// The representative as a caller with a certificate of this kind.
    pub(crate) fn caller<'a>(&'a self, kind: &'a CertificateKind) -> Caller<'a> {
        match (&self.class, &self.representative) {
            (CallerClass::LocalAdmin, _) => Caller::LocalAdmin,
            (_, Some(id)) => Caller::Certified(id, kind.certificate()),
            (_, None) => Caller::Anonymous,
        }
    }
}

impl CertificateKind {
    fn certificate(&self) -> Certificate<'_> {
        let not_before = SystemTime::UNIX_EPOCH;
        Certificate {
            not_before: Some(not_before),
            now: self.age.and_then(|age| not_before.checked_add(age)),
            spki_sha256: self.spki_sha256.as_deref(),
            sha256: self.sha256.as_deref(),
            issuer_key_id: self.issuer_key_id.as_deref(),
            serial: self.serial.as_deref(),
        }
    }
}

/// All classes that `policies` together can tell apart: without an identity first, then by SPIFFE ID, the rest last.
///
/// # Errors
/// If conditions multiply beyond [`MAX_CERTIFICATES`].
pub(crate) fn classes(policies: &[&Policy]) -> Result<Vec<Class>, TooManyCertificates> {
    let patterns: BTreeSet<&CallerPattern> = policies.iter().flat_map(|policy| policy.patterns()).collect();
    let exact: BTreeSet<&SpiffeId> = patterns
        .iter()
        .filter_map(|pattern| match pattern {
            CallerPattern::Exact(id) => Some(id),
            CallerPattern::Below(_) => None,
        })
        .collect();
    let below: BTreeSet<&SpiffeId> = patterns
        .iter()
        .filter_map(|pattern| match pattern {
            CallerPattern::Below(id) => Some(id),
            CallerPattern::Exact(_) => None,
        })
        .collect();
    let domains: BTreeSet<&TrustDomain> = exact.iter().chain(&below).map(|id| id.trust_domain()).collect();

    let mut found = vec![(CallerClass::Anonymous, None), (CallerClass::LocalAdmin, None)];
    found.extend(exact.iter().map(|id| (CallerClass::Exact((*id).clone()), Some((*id).clone()))));
    let free = |parent: &str| free_below(parent, &exact);
    // A prefix has no class if no ID fits below it other than those named exactly.
    found.extend(
        below
            .iter()
            .filter_map(|parent| Some((CallerClass::Below((*parent).clone()), Some(free(parent.as_str())?)))),
    );
    found.extend(domains.iter().filter_map(|domain| {
        let root = format!("spiffe://{domain}");
        let covered = below.iter().any(|parent| parent.as_str() == root);
        let somebody = if covered { None } else { free(&root) };
        Some((CallerClass::Domain((*domain).clone()), Some(somebody?)))
    }));
    let elsewhere = (0..).map(|n| format!("elsewhere-{n}.example"));
    let elsewhere = elsewhere
        .take(domains.len() + 1)
        .find(|name| domains.iter().all(|domain| domain.as_str() != name))
        .and_then(|name| free(&format!("spiffe://{name}")));
    found.extend(elsewhere.map(|id| (CallerClass::Foreign, Some(id))));

    found
        .into_iter()
        .map(|(class, representative)| {
            let certificates = match &representative {
                Some(id) => kinds(&class, policies, id)?,
                None => vec![CertificateKind::default()],
            };
            Ok(Class { class, representative, certificates })
        })
        .collect()
}

/// An ID right below `parent` that is not one of `taken`. The shortest names come first, and each of `taken` takes one of
/// them at most, so none is missed; none is left if the names that fit into a SPIFFE ID are all taken.
fn free_below(parent: &str, taken: &BTreeSet<&SpiffeId>) -> Option<SpiffeId> {
    const DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let name = |mut n: usize| {
        let mut name = String::new();
        loop {
            name.extend(DIGITS.get(n % DIGITS.len()).map(|digit| char::from(*digit)));
            n /= DIGITS.len();
            if n == 0 {
                return name;
            }
            n -= 1;
        }
    };
    let names = std::iter::once(SOMEBODY.to_owned()).chain((0..=taken.len()).map(name));
    names.filter_map(|name| format!("{parent}/{name}").parse().ok()).find(|id| !taken.contains(id))
}

/// Every kind of certificate that the conditions on `id` tell apart.
fn kinds(
    class: &CallerClass,
    policies: &[&Policy],
    id: &SpiffeId,
) -> Result<Vec<CertificateKind>, TooManyCertificates> {
    let conditions: Vec<&Condition> = policies.iter().flat_map(|policy| policy.conditions_on(id)).collect();
    let ages: BTreeSet<Duration> =
        conditions.iter().flat_map(|condition| [condition.max_age, condition.older_than]).flatten().collect();
    let mut kinds = vec![CertificateKind::default()];
    let axis = age_axis(&ages);
    multiply(&mut kinds, class, &axis, |kind, age| kind.age = *age)?;
    for (what, pins, unknown, set) in [
        ("key", pins(&conditions, |c| &c.spki_sha256), false, SET_SPKI),
        ("fingerprint", pins(&conditions, |c| &c.sha256), false, SET_SHA256),
        ("issuer", pins(&conditions, |c| &c.issuer_key_id), true, SET_ISSUER),
        ("serial", pins(&conditions, |c| &c.serial), false, SET_SERIAL),
    ] {
        multiply(&mut kinds, class, &pin_axis(what, &pins, unknown), set)?;
    }
    Ok(kinds)
}

type Set = fn(&mut CertificateKind, &Option<String>);
const SET_SPKI: Set = |kind, pin| kind.spki_sha256.clone_from(pin);
const SET_SHA256: Set = |kind, pin| kind.sha256.clone_from(pin);
const SET_ISSUER: Set = |kind, pin| kind.issuer_key_id.clone_from(pin);
const SET_SERIAL: Set = |kind, pin| kind.serial.clone_from(pin);

fn pins<'a>(
    conditions: &[&'a Condition],
    of: impl Fn(&'a Condition) -> &'a Vec<String>,
) -> BTreeSet<&'a str> {
    conditions.iter().flat_map(|condition| of(condition)).map(String::as_str).collect()
}

/// Combines each kind with each value of `axis`; leaves the kinds as they are if there is no value.
fn multiply<T>(
    kinds: &mut Vec<CertificateKind>,
    class: &CallerClass,
    axis: &[(String, T)],
    set: impl Fn(&mut CertificateKind, &T),
) -> Result<(), TooManyCertificates> {
    if axis.is_empty() {
        return Ok(());
    }
    if kinds.len().saturating_mul(axis.len()) > MAX_CERTIFICATES {
        return Err(TooManyCertificates { class: class.clone() });
    }
    let all = kinds.iter().flat_map(|kind| {
        axis.iter().map(|(label, value)| {
            let mut kind = kind.clone();
            let comma = if kind.label.is_empty() { "" } else { ", " };
            kind.label = format!("{}{comma}{label}", kind.label);
            set(&mut kind, value);
            kind
        })
    });
    *kinds = all.collect();
    Ok(())
}

/// One age between each two limits, one beyond the last, and an unknown age.
fn age_axis(limits: &BTreeSet<Duration>) -> Vec<(String, Option<Duration>)> {
    let mut axis = Vec::new();
    let mut above = String::new();
    for limit in limits {
        axis.push((format!("{above}at most {} old", duration::rounded(*limit)), Some(*limit)));
        above = format!("more than {}, ", duration::rounded(*limit));
    }
    if let Some(last) = limits.last() {
        let beyond = last.saturating_add(Duration::from_secs(1));
        axis.push((format!("more than {} old", duration::rounded(*last)), Some(beyond)));
        axis.push(("of unknown age".to_owned(), None));
    }
    axis
}

/// Each pinned value, one that is not pinned, and, if `unknown`, an unknown one.
fn pin_axis(what: &str, pins: &BTreeSet<&str>, unknown: bool) -> Vec<(String, Option<String>)> {
    if pins.is_empty() {
        return Vec::new();
    }
    let mut axis: Vec<_> =
        pins.iter().map(|pin| (format!("{what} {pin}"), Some((*pin).to_owned()))).collect();
    // No pin is empty, so an empty value is another than all of them.
    axis.push((format!("another {what}"), Some(String::new())));
    if unknown {
        axis.push((format!("unknown {what}"), None));
    }
    axis
}

impl Policy {
    /// All callers that the file names.
    fn patterns(&self) -> impl Iterator<Item = &CallerPattern> {
        let bound = self.role_bindings().iter().flat_map(|role| &role.callers).map(|bound| &bound.caller);
        let denied = self.deny_rules().iter().map(|rule| &rule.caller);
        let audited = self.audit_rules().iter().filter_map(|rule| rule.caller.as_ref());
        bound.chain(denied).chain(audited)
    }

    /// The conditions of all lines that apply to `id`.
    fn conditions_on(&self, id: &SpiffeId) -> impl Iterator<Item = &Condition> {
        let (roles, denies) = self.conditional(id);
        roles.chain(denies)
    }
}
