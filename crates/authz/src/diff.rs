//! A policy as a table of everybody × every RPC, and what a second one changes in it: complete, by the classes of
//! [`CallerClass`].

use std::collections::BTreeSet;
use std::fmt;

use avouch_spiffe::Reason;
use serde::Serialize;

use crate::classes::{CallerClass, Class, TooManyCertificates, classes};
use crate::decide::{Caller, decide};
use crate::policy::Policy;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict", content = "reason")]
pub enum Outcome {
    /// It is allowed.
    Allowed,
    /// Audit mode lets it through; enforced, it would be refused for this reason.
    Audited(Reason),
    /// It is refused for this reason.
    Refused(Reason),
}

impl Outcome {
    /// What `policy` makes of a call.
    #[must_use]
    pub fn of(policy: &Policy, caller: Caller<'_>, path: &str) -> Self {
        match decide(policy, caller, path) {
            Ok(permit) => permit.audited().map_or(Self::Allowed, |denial| Self::Audited(denial.reason())),
            Err(denial) => Self::Refused(denial.reason()),
        }
    }

    /// Whether the call reaches the service.
    #[must_use]
    pub fn goes_through(self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => f.write_str("allowed"),
            Self::Audited(reason) => write!(f, "audited ({reason})"),
            Self::Refused(reason) => write!(f, "refused ({reason})"),
        }
    }
}

/// A policy over everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerMatrix {
    /// The RPCs, sorted by path.
    pub methods: Vec<&'static str>,
    /// By class of callers, and by kind of certificate where the policy asks for one.
    pub rows: Vec<CallerRow>,
}

/// What one class of callers may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerRow {
    /// Whose row it is.
    pub caller: CallerClass,
    /// With which certificates: one of these kinds; empty if that does not matter.
    pub certificates: Vec<String>,
    /// By RPC, in the order of [`CallerMatrix::methods`].
    pub outcomes: Vec<Outcome>,
}

/// The table of `policy` over everybody and all methods that it was checked against.
///
/// # Errors
/// If conditions on certificates multiply beyond what can be tried.
pub fn caller_matrix(policy: &Policy) -> Result<CallerMatrix, TooManyCertificates> {
    let methods: Vec<_> = policy.methods().iter().map(|method| method.path).collect();
    let mut rows: Vec<CallerRow> = Vec::new();
    for class in classes(&[policy])? {
        let answers = class.certificates.iter().map(|kind| {
            let ask = |path: &&'static str| Outcome::of(policy, class.caller(kind), path);
            (kind.label.clone(), methods.iter().map(ask).collect::<Vec<_>>())
        });
        let rows_of_class = group(answers.collect());
        rows.extend(rows_of_class.into_iter().map(|(outcomes, certificates)| CallerRow {
            caller: class.class.clone(),
            certificates,
            outcomes,
        }));
    }
    Ok(CallerMatrix { methods, rows })
}

/// Which way a call changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It went not through, and does.
    NewlyAllowed,
    /// It went through, and does not.
    NewlyRefused,
    /// It goes through either way, but once as a refusal that is only recorded.
    Audit,
}

/// One call that two policies treat differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which way.
    pub kind: ChangeKind,
    /// Who calls.
    pub caller: CallerClass,
    /// With which certificates: one of these kinds; empty if that does not matter.
    pub certificates: Vec<String>,
    /// What is called.
    pub method: &'static str,
    /// Under the first policy.
    pub before: Outcome,
    /// Under the second.
    pub after: Outcome,
}

/// Every call that `after` lets through and `before` does not, or the reverse, over everybody and all methods of both.
/// Newly allowed first, then by caller and method. A refusal whose reason alone changes is none.
///
/// # Errors
/// If conditions on certificates multiply beyond what can be tried.
pub fn diff(before: &Policy, after: &Policy) -> Result<Vec<Change>, TooManyCertificates> {
    let methods = before.methods().iter().chain(after.methods().iter());
    let methods: BTreeSet<&'static str> = methods.map(|method| method.path).collect();
    let mut changes = Vec::new();
    for class in classes(&[before, after])? {
        for method in &methods {
            changes.extend(changes_of(&class, method, before, after));
        }
    }
    changes.sort_by(|a, b| (a.kind, &a.caller, a.method).cmp(&(b.kind, &b.caller, b.method)));
    Ok(changes)
}

fn changes_of(class: &Class, method: &'static str, before: &Policy, after: &Policy) -> Vec<Change> {
    let answers = class.certificates.iter().map(|kind| {
        let ask = |policy| Outcome::of(policy, class.caller(kind), method);
        (kind.label.clone(), (ask(before), ask(after)))
    });
    let changed = |((before, after), certificates): ((Outcome, Outcome), Vec<String>)| {
        let kind = match (before.goes_through(), after.goes_through()) {
            (false, true) => ChangeKind::NewlyAllowed,
            (true, false) => ChangeKind::NewlyRefused,
            (true, true) if before != after => ChangeKind::Audit,
            _ => return None,
        };
        Some(Change { kind, caller: class.class.clone(), certificates, method, before, after })
    };
    group(answers.collect()).into_iter().filter_map(changed).collect()
}

/// The different answers, each with the labels that lead to it; without labels if there is one answer only.
fn group<T: PartialEq>(answers: Vec<(String, T)>) -> Vec<(T, Vec<String>)> {
    let mut groups: Vec<(T, Vec<String>)> = Vec::new();
    for (label, answer) in answers {
        match groups.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, labels)) => labels.push(label),
            None => groups.push((answer, vec![label])),
        }
    }
    if let [(_, labels)] = groups.as_mut_slice() {
        labels.clear();
    }
    groups
}

#[cfg(test)]
mod tests;
