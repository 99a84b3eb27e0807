//! Proposes changes that would change a decision, each tried on a copy of the policy before it is shown.

use super::evaluate::{Asker, Policies, Rules, everybody, gains, judge};
use super::page::Page;
use super::{edit, vocabulary};
use avouch_api::observe::v1::Decision;
use avouch_authz::{FailedCondition, Policy};
use avouch_fleet::Fleet;
use avouch_spiffe::{Reason, SpiffeId};
use serde::Serialize;

/// The most methods and callers that are named.
const NAMED: usize = 6;

/// The advice, and a change of the policy that was tried.
#[derive(Debug, Default, Serialize)]
pub(super) struct Remedy {
    pub(super) advice: Vec<String>,
    /// The file and table that the line belongs into.
    place: String,
    /// A line of TOML.
    line: String,
    /// The trial of the line.
    tried: Option<Trial>,
}

/// The decision under the changed policy.
#[derive(Debug, Serialize)]
struct Trial {
    allowed: bool,
    /// The role by which it is allowed, or why it still is not.
    outcome: String,
    /// The other methods that the caller may call then.
    also: Vec<&'static str>,
    /// Whoever else may call something then: nobody, as a rule.
    others: Vec<String>,
    callers: usize,
    methods: usize,
}

/// For a call that a policy refused.
pub(super) fn call(fleet: &Fleet, policies: &Policies<'_>, asker: &Asker, record: &Decision) -> Remedy {
    let rules = &policies.current;
    let denial = match rules.decide(asker, &record.method) {
        Ok(_) => return Remedy::of("nothing: the policy in force now allows it; let the caller try again"),
        Err(denial) => denial,
    };
    if let Some(failed) = denial.failed_condition() {
        return condition(failed);
    }
    match (denial.reason(), asker) {
        (Reason::RoleMissing, Asker::Peer(id, _)) => bind(fleet, rules, (id, asker), record, denial.need()),
        (Reason::DenyRuleMatched, Asker::Peer(..)) => {
            let line = denial.location().and_then(|location| location.line);
            undeny(fleet, rules, asker, record, line)
        }
        (reason, _) => Remedy::of(&vocabulary::remedy(reason)),
    }
}

/// The remedy for a caller that would hold the role with another certificate. A line without the condition is not proposed:
/// whoever wrote the condition meant it.
fn condition(failed: &FailedCondition) -> Remedy {
    let FailedCondition { role, location, unmet, .. } = failed;
    let known = if unmet.unknown { ", as far as records show it" } else { "" };
    Remedy::of(&format!(
        "it would hold {role} by {location} with a certificate that meets the condition ({unmet}{known}): let the caller \
         renew, or change the condition there"
    ))
}

/// The role whose binding to the caller newly allows the fewest calls.
fn bind(
    fleet: &Fleet,
    rules: &Rules<'_>,
    (id, asker): (&SpiffeId, &Asker),
    record: &Decision,
    need: &[&'static str],
) -> Remedy {
    let trials = need.iter().filter_map(|role| {
        let edit = edit::bind(&rules.said.text, role, id.as_str())?;
        let trial = Trial::of(fleet, rules, &rules.changed(&edit.text), asker, record);
        Some((edit, trial))
    });
    let least = trials.min_by_key(|(_, trial)| (!trial.allowed, trial.others.len(), trial.also.len()));
    let advice =
        format!("if {id} should be allowed to, bind it to the role; the file is read again by itself");
    let Some((edit, trial)) = least else {
        let roles = need.join(", ");
        return Remedy::of(&format!("{advice}: one of [{roles}] in {}", rules.said.source));
    };
    Remedy {
        place: format!("{}, under [roles]", rules.said.source),
        line: edit.line,
        tried: Some(trial),
        ..Remedy::of(&advice)
    }
}

/// The policy without the deny rule.
fn undeny(fleet: &Fleet, rules: &Rules<'_>, asker: &Asker, record: &Decision, line: Option<usize>) -> Remedy {
    let place = line.map_or(rules.said.source.clone(), |line| format!("{}:{line}", rules.said.source));
    let advice =
        format!("a deny beats every role: if the one at {place} means somebody else, narrow or remove it");
    let changed = line.and_then(|line| edit::without_deny(&rules.said.text, line));
    let tried = changed.map(|text| Trial::of(fleet, rules, &rules.changed(&text), asker, record));
    Remedy { tried, ..Remedy::of(&advice) }
}

impl Trial {
    fn of(
        fleet: &Fleet,
        rules: &Rules<'_>,
        changed: &Result<Policy, String>,
        asker: &Asker,
        record: &Decision,
    ) -> Self {
        let changed = match changed {
            Ok(changed) => changed,
            Err(problem) => return Self::refused(format!("the changed policy is not good: {problem}")),
        };
        let outcome = judge(changed, asker, &record.method);
        let askers = everybody(fleet, changed, asker);
        let (own, others): (Vec<_>, Vec<_>) =
            gains(&rules.policy, changed, &askers).into_iter().partition(|(who, _)| who == asker);
        let also = own.into_iter().map(|(_, path)| path).filter(|path| *path != record.method);
        Self {
            allowed: outcome.is_ok(),
            outcome: match outcome {
                Ok(role) => role.map(|role| format!("by the role {role}")).unwrap_or_default(),
                Err(denial) => format!("{}: {}", denial.reason(), denial.reason().summary()),
            },
            also: also.collect(),
            others: others.into_iter().map(|(who, path)| format!("{} {path}", who.name())).collect(),
            callers: askers.len(),
            methods: changed.methods().len(),
        }
    }

    fn refused(outcome: String) -> Self {
        Self { allowed: false, outcome, also: Vec::new(), others: Vec::new(), callers: 0, methods: 0 }
    }

    fn write(&self, page: &mut Page) {
        let verdict = if self.allowed { "allowed" } else { "still refused" };
        page.fact("tried", &format!("on a copy of the policy: the call is {verdict}, {}", self.outcome));
        if self.callers == 0 {
            return;
        }
        if !self.also.is_empty() {
            let named: Vec<_> = self.also.iter().take(NAMED).copied().collect();
            let more = self.also.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            page.fact("tried", &format!("the caller may then also call {}{more}", named.join(", ")));
        }
        let of = format!("of {} callers and {} methods", self.callers, self.methods);
        match self.others.as_slice() {
            [] => page.fact("tried", &format!("nobody else may call more than before, {of}")),
            others => {
                page.fact("tried", &format!("{} more cells open for others, {of}:", others.len()));
                others.iter().take(NAMED).for_each(|other| page.fact("tried", other));
            }
        }
    }
}

impl Remedy {
    pub(super) fn of(advice: &str) -> Self {
        Self { advice: vec![advice.to_owned()], ..Self::default() }
    }

    /// Says something before all else.
    pub(super) fn first(&mut self, advice: &str) {
        self.advice.insert(0, advice.to_owned());
    }

    /// This remedy, or another where this one is empty.
    pub(super) fn or(self, other: impl FnOnce() -> Self) -> Self {
        if self.advice.is_empty() { other() } else { self }
    }

    pub(super) fn write(&self, page: &mut Page) {
        for advice in &self.advice {
            page.whole("fix", advice);
        }
        if !self.line.is_empty() {
            page.whole("fix", &format!("in {}:", self.place));
            page.whole("fix", &format!("  {}", self.line));
        }
        if let Some(trial) = &self.tried {
            trial.write(page);
        }
    }
}
