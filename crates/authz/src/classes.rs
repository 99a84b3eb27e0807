//! Everybody, in finitely many classes of callers that given policies cannot tell apart, each with a representative:
//! what makes a table of a policy, or the difference of two, complete.
//!
//! *Why it is complete.* [`decide`](crate::decide) sees of a SPIFFE ID only which patterns of the policy match it. An ID
//! that some pattern names exactly is a class of its own. Any other ID is matched by prefixes alone, and by all prefixes
//! above the deepest one that matches it; so all IDs with the same deepest prefix are one class, "everybody else below"
//! it. IDs that no prefix matches are matched by nothing: one class per trust domain that the policies name, for the
//! reader's sake, and one for all other domains. Of a certificate it sees only on which side of the named ages it lies,
//! and which of the named pins it has, one of them or none; each combination is tried, and so are an age and an issuer
//! that nobody can tell. A verified peer's key, fingerprint and serial number are always known.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use avouch_spiffe::{SpiffeId, TrustDomain, span};
use serde::{Serialize, Serializer};

use crate::condition::{Certificate, Condition};
use crate::decide::Caller;
use crate::pattern::CallerPattern;
use crate::policy::Policy;

/// The most kinds of certificates of one class of callers.
pub const MAX_CERTIFICATES: usize = 4096;
/// What a representative is called where it is free.
const SOMEBODY: &str = "somebody-else";

/// A class of callers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallerClass {
    /// Somebody who showed no certificate.
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
    /// Whose.
    pub class: CallerClass,
}

/// A class with somebody of it.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) class: CallerClass,
    /// None for those who have no ID.
    pub(crate) representative: Option<SpiffeId>,
    /// Every kind of certificate that the policies tell apart; one that nothing is asked of, if they do not.
    pub(crate) certificates: Vec<Kind>,
}

/// One kind of certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kind {
    /// In words; empty if nothing is asked.
    pub(crate) label: String,
    age: Option<Duration>,
    spki_sha256: Option<String>,
    sha256: Option<String>,
    issuer_key_id: Option<String>,
    serial: Option<String>,
}

impl Class {
    /// The representative as a caller with a certificate of this kind.
    pub(crate) fn caller<'a>(&'a self, kind: &'a Kind) -> Caller<'a> {
        match (&self.class, &self.representative) {
            (CallerClass::LocalAdmin, _) => Caller::LocalAdmin,
            (_, Some(id)) => Caller::Certified(id, kind.certificate()),
            (_, None) => Caller::Anonymous,
        }
    }
}

impl Kind {
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
    // A prefix below which nobody fits who is not named exactly has no class.
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
                None => vec![Kind::default()],
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
fn kinds(class: &CallerClass, policies: &[&Policy], id: &SpiffeId) -> Result<Vec<Kind>, TooManyCertificates> {
    let conditions: Vec<&Condition> = policies.iter().flat_map(|policy| policy.conditions_on(id)).collect();
    let ages: BTreeSet<Duration> =
        conditions.iter().flat_map(|condition| [condition.max_age, condition.older_than]).flatten().collect();
    let mut kinds = vec![Kind::default()];
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

type Set = fn(&mut Kind, &Option<String>);
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

/// Each kind with each value; as they are if there is no value.
fn multiply<T>(
    kinds: &mut Vec<Kind>,
    class: &CallerClass,
    axis: &[(String, T)],
    set: impl Fn(&mut Kind, &T),
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

/// One age between each two limits and beyond the last, and one that nobody can tell.
fn age_axis(limits: &BTreeSet<Duration>) -> Vec<(String, Option<Duration>)> {
    let mut axis = Vec::new();
    let mut above = String::new();
    for limit in limits {
        axis.push((format!("{above}at most {} old", span::display(*limit)), Some(*limit)));
        above = format!("more than {}, ", span::display(*limit));
    }
    if let Some(last) = limits.last() {
        let beyond = last.saturating_add(Duration::from_secs(1));
        axis.push((format!("more than {} old", span::display(*last)), Some(beyond)));
        axis.push(("of unknown age".to_owned(), None));
    }
    axis
}

/// Each pinned value, one that is not pinned, and perhaps one that nobody can tell.
fn pin_axis(what: &str, pins: &BTreeSet<&str>, unknown: bool) -> Vec<(String, Option<String>)> {
    if pins.is_empty() {
        return Vec::new();
    }
    let mut axis: Vec<_> =
        pins.iter().map(|pin| (format!("{what} {pin}"), Some((*pin).to_owned()))).collect();
    // No pin is empty.
    axis.push((format!("another {what}"), Some(String::new())));
    if unknown {
        axis.push((format!("unknown {what}"), None));
    }
    axis
}

impl Policy {
    /// Every caller that the file names.
    fn patterns(&self) -> impl Iterator<Item = &CallerPattern> {
        let bound = self.role_bindings().iter().flat_map(|role| &role.callers).map(|bound| &bound.caller);
        let denied = self.deny_rules().iter().map(|rule| &rule.caller);
        let audited = self.audit_rules().iter().filter_map(|rule| rule.caller.as_ref());
        bound.chain(denied).chain(audited)
    }

    /// Every condition of a line that means `id`.
    fn conditions_on(&self, id: &SpiffeId) -> impl Iterator<Item = &Condition> {
        let (roles, denies) = self.conditional(id);
        roles.chain(denies)
    }
}
