//! A policy as a table of every caller × every RPC, and the difference of two policies. Both are complete, since they go
//! by the classes of callers that a policy can tell apart ([`CallerClass`]).

use std::collections::BTreeSet;
use std::fmt;

use avouch_spiffe::Reason;
use serde::Serialize;

use crate::caller_class::{CallerClass, Class, TooManyCertificates, classes};
use crate::decide::{Caller, decide};
use crate::policy::Policy;

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict", content = "reason")]
pub enum CallOutcome {
    /// It is allowed.
    Allowed,
    /// Audit mode lets it through; enforced, it would be denied for this reason.
    Audited(Reason),
    /// It is denied for this reason.
    #[serde(rename = "refused")]
    Denied(Reason),
}

impl CallOutcome {
    /// The outcome of a call under `policy`.
    #[must_use]
    pub fn of(policy: &Policy, caller: Caller<'_>, path: &str) -> Self {
        match decide(policy, caller, path) {
            Ok(permit) => permit.audited().map_or(Self::Allowed, |denial| Self::Audited(denial.reason())),
            Err(denial) => Self::Denied(denial.reason()),
        }
    }

    /// Whether the call reaches the service.
    #[must_use]
    pub fn goes_through(self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

impl fmt::Display for CallOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => f.write_str("allowed"),
            Self::Audited(reason) => write!(f, "audited ({reason})"),
            Self::Denied(reason) => write!(f, "refused ({reason})"),
        }
    }
}

/// A policy as a table of every caller × every RPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerMatrix {
    /// The RPCs, sorted by path.
    pub methods: Vec<&'static str>,
    /// One row for each class of callers, and for each kind of certificate where the policy has conditions on it.
    pub rows: Vec<CallerRow>,
}

/// The RPCs that one class of callers may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerRow {
    /// The class of callers.
    pub caller: CallerClass,
    /// The kinds of certificates that the row is about; empty if the certificate does not matter.
    pub certificates: Vec<String>,
    /// By RPC, in the order of [`CallerMatrix::methods`].
    pub outcomes: Vec<CallOutcome>,
}

/// The table of `policy` over all callers and all methods that it was checked against.
///
/// # Errors
/// If conditions on certificates multiply beyond what can be tried.
pub fn caller_matrix(policy: &Policy) -> Result<CallerMatrix, TooManyCertificates> {
    let methods: Vec<_> = policy.methods().iter().map(|method| method.path).collect();
    let mut rows: Vec<CallerRow> = Vec::new();
    for class in classes(&[policy])? {
        let answers = class.certificates.iter().map(|kind| {
            let ask = |path: &&'static str| CallOutcome::of(policy, class.caller(kind), path);
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

/// The direction in which a call changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It did not go through, and does.
    NewlyAllowed,
    /// It went through, and does not.
    #[serde(rename = "newly_refused")]
    NewlyDenied,
    /// It goes through either way, but under one policy as a denial that is only recorded.
    Audit,
}

/// One call that two policies treat differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The direction of the change.
    pub kind: ChangeKind,
    /// The callers.
    pub caller: CallerClass,
    /// The kinds of certificates that the change is about; empty if the certificate does not matter.
    pub certificates: Vec<String>,
    /// The RPC.
    pub method: &'static str,
    /// The outcome under the first policy.
    pub before: CallOutcome,
    /// The outcome under the second.
    pub after: CallOutcome,
}

/// Every call that `after` lets through and `before` does not, or the reverse, over all callers and all methods of
/// both. Newly allowed calls come first, then by caller and method. A denial of which only the reason changes is no change.
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
        let ask = |policy| CallOutcome::of(policy, class.caller(kind), method);
        (kind.label.clone(), (ask(before), ask(after)))
    });
    let changed = |((before, after), certificates): ((CallOutcome, CallOutcome), Vec<String>)| {
        let kind = match (before.goes_through(), after.goes_through()) {
            (false, true) => ChangeKind::NewlyAllowed,
            (true, false) => ChangeKind::NewlyDenied,
            (true, true) if before != after => ChangeKind::Audit,
            _ => return None,
        };
        Some(Change { kind, caller: class.class.clone(), certificates, method, before, after })
    };
    group(answers.collect()).into_iter().filter_map(changed).collect()
}

/// The different answers, each with the labels that lead to it; without labels if there is only one answer.
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
