//! Questions about a policy beyond decisions: the line that is nearest to a caller, the condition that kept a role from it,
//! and the lines without any effect.

use std::cmp::Reverse;
use std::fmt;

use avouch_spiffe::SpiffeId;

use super::{AuditRule, BoundCaller, Deny, DenyRule, Policy, SourceLocation};
use crate::condition::{Certificate, Condition, UnmetCondition};
use crate::methods::{MethodIndex, Need};
use crate::pattern::CallerPattern;

/// The line of the policy that is nearest to applying to a caller, or the deny rule that does apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestBinding {
    /// The role that the line binds; `None` for a deny rule.
    pub role: Option<&'static str>,
    /// The line's caller, as written, with its condition.
    pub caller: String,
    /// The line's location.
    pub location: SourceLocation,
}

/// A condition on the caller's certificate that kept a line of the policy from granting a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCondition {
    /// The role.
    pub role: &'static str,
    /// The line's caller, as written.
    pub caller: String,
    /// The condition, and by how much the certificate misses it.
    pub unmet: UnmetCondition,
    /// The line's location.
    pub location: SourceLocation,
}

/// A line without any effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// The line's location.
    pub location: SourceLocation,
    /// The line's content, and why it has no effect.
    pub why: String,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.why)
    }
}

impl Policy {
    /// The binding of a role that `method` asks for whose caller is nearest to `id`, among those that do not apply to it:
    /// one of its trust domain if there is any, then the one with the longest common prefix.
    #[must_use]
    pub fn nearest_binding(&self, id: &SpiffeId, method: &str) -> Option<NearestBinding> {
        self.nearest(id, self.methods().find(method)?.need.roles(), usize::MAX)
    }

    pub(crate) fn nearest(&self, id: &SpiffeId, need: u64, looked_at: usize) -> Option<NearestBinding> {
        let (role, bound) = self
            .bound(need)
            .take(looked_at)
            .filter(|(_, bound)| !bound.caller.matches(id))
            .min_by_key(|(_, bound)| Reverse(nearness(&bound.caller, id)))?;
        Some(NearestBinding {
            role: Some(role),
            caller: bound.to_string(),
            location: self.location(Some(bound.line)),
        })
    }

    /// The first binding of a role of `need` that applies to `id` but for a condition that its certificate does not meet.
    pub(crate) fn failed_condition(
        &self,
        id: &SpiffeId,
        certificate: Option<&Certificate<'_>>,
        need: u64,
    ) -> Option<FailedCondition> {
        let unknown = Certificate::default();
        let certificate = certificate.unwrap_or(&unknown);
        let itself = CallerPattern::Exact(id.clone());
        let conditional = self.covering(&itself).filter_map(|(_, binding)| binding.conditional.as_ref());
        conditional.flat_map(|conditional| &conditional.roles).find_map(|role| {
            let bound = self.roles.get(role.bit)?.callers.get(role.at)?;
            let mask = need & (1 << role.bit);
            Some(FailedCondition {
                role: (mask != 0).then(|| self.methods.first_role(mask)).flatten()?,
                caller: bound.caller.to_string(),
                unmet: bound.condition.unmet(certificate)?,
                location: self.location(Some(bound.line)),
            })
        })
    }

    /// The conditions of all role and deny lines that apply to `id`.
    pub(crate) fn conditional(
        &self,
        id: &SpiffeId,
    ) -> (impl Iterator<Item = &Condition>, impl Iterator<Item = &Condition>) {
        let itself = CallerPattern::Exact(id.clone());
        let more: Vec<_> =
            self.covering(&itself).filter_map(|(_, binding)| binding.conditional.as_deref()).collect();
        let roles =
            more.clone().into_iter().flat_map(|conditional| &conditional.roles).map(|role| &*role.condition);
        let denies = more.into_iter().flat_map(|conditional| &conditional.denies);
        (roles, denies.filter_map(|number| Some(&self.deny_rule(*number)?.condition)))
    }

    /// All callers bound to one of the roles of a mask.
    fn bound(&self, mask: u64) -> impl Iterator<Item = (&'static str, &BoundCaller)> {
        let roles = (0..).zip(&self.roles).filter(move |(bit, _)| mask & (1_u64 << bit) != 0);
        roles.flat_map(|(bit, role)| {
            let name = self.methods.first_role(1 << bit).unwrap_or_default();
            role.callers.iter().map(move |bound| (name, bound))
        })
    }

    /// Lines without any effect: a caller that its role has already by a wider line, a role that is bound to nobody, a
    /// deny rule of what nobody could call anyway or what a wider one denies, an audit rule of what asks for no role.
    /// In the order of the file.
    #[must_use]
    pub fn unused(&self) -> Vec<Unused> {
        let mut found = Vec::new();
        self.unused_bindings(&mut found);
        for (number, rule) in (0..).zip(&self.denies) {
            if let Some(why) = self.unused_deny(number, rule) {
                found.push((rule.line, why));
            }
        }
        for (number, rule) in self.audits.iter().enumerate() {
            if let Some(why) = self.unused_audit(number, rule) {
                found.push((rule.line, why));
            }
        }
        found.sort();
        let unused = |(line, why)| Unused { location: self.location(Some(line)), why };
        found.into_iter().map(unused).collect()
    }

    fn unused_bindings(&self, found: &mut Vec<(usize, String)>) {
        for ((bit, binding), role) in (0..).zip(&self.roles).zip(self.methods.roles()) {
            if let (Some(line), true) = (binding.line, binding.callers.is_empty()) {
                found.push((line, format!("the role {role:?} is bound to nobody")));
            }
            for bound in &binding.callers {
                let wider = self.covering(&bound.caller).find(|(text, covering)| {
                    let itself = bound.condition.is_empty() && *text == bound.caller.to_string();
                    !itself && covering.roles & (1_u64 << bit) != 0
                });
                if let Some((text, _)) = wider {
                    found.push((bound.line, format!("{bound} holds {role:?} already by {text}")));
                }
            }
        }
    }

    /// Everything bound to the caller or to one of its parents, each with its pattern's text.
    fn covering<'a, 'c>(
        &'a self,
        caller: &'c CallerPattern,
    ) -> impl Iterator<Item = (String, &'a super::Binding)> + use<'a, 'c> {
        let (exact, id) = match caller {
            CallerPattern::Exact(id) => (self.exact.get(id.as_str()), id),
            CallerPattern::Below(id) => (None, id),
        };
        let itself = matches!(caller, CallerPattern::Below(_)).then_some(id.as_str());
        let start = id.as_str().len() - id.path().len();
        let slashes = id.path().match_indices('/').filter_map(move |(at, _)| id.as_str().get(..start + at));
        let below = slashes.chain(itself).filter_map(|parent| {
            let binding = self.below.get(parent)?;
            Some((format!("{parent}/*"), binding))
        });
        exact.map(|binding| (id.to_string(), binding)).into_iter().chain(below)
    }

    fn unused_deny(&self, number: u32, rule: &DenyRule) -> Option<String> {
        let all: Vec<MethodIndex>;
        let methods = match &rule.indices {
            Some(indices) => indices,
            None => {
                all = self.methods.iter().filter_map(|method| self.methods.index_of(method.path)).collect();
                &all
            }
        };
        let needs: Vec<Need> = self.methods.needs().collect();
        let may_hold = self.may_hold(&rule.caller);
        let mut wider = None;
        for method in methods {
            let callable = match needs.get(method.index()) {
                Some(Need::Roles(mask)) => mask & may_hold != 0 || self.may_be_audited(&rule.caller, *method),
                Some(Need::AnyIdentity | Need::Unauthenticated) => true,
                Some(Need::LocalAdmin) | None => false,
            };
            if callable {
                let other =
                    self.covering(&rule.caller).filter_map(|(_, binding)| denied(&binding.deny, *method));
                wider = Some(other.into_iter().find(|other| *other != number)?);
            }
        }
        Some(match wider.and_then(|wider| self.deny_rule(wider)) {
            Some(wider) => format!("deny {}: line {} denies it already", rule.caller, wider.line),
            None => format!("deny {}: nobody whom it means could make these calls anyway", rule.caller),
        })
    }

    /// The roles that some caller of the pattern may hold, with the right certificate.
    fn may_hold(&self, caller: &CallerPattern) -> u64 {
        let all = |binding: &super::Binding| {
            let more = binding.conditional.iter().flat_map(|conditional| &conditional.roles);
            more.fold(binding.roles, |mask, role| mask | 1 << role.bit)
        };
        let covering = self.covering(caller).fold(0, |mask, (_, binding)| mask | all(binding));
        let CallerPattern::Below(parent) = caller else { return covering };
        let inside = |text: &str| {
            let rest = text.strip_prefix(parent.as_str());
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let within = self.exact.iter().chain(&self.below).filter(|(text, _)| inside(text));
        within.fold(covering, |mask, (_, binding)| mask | all(binding))
    }

    fn may_be_audited(&self, caller: &CallerPattern, method: MethodIndex) -> bool {
        if self.never_audited.get(method.index()) != Some(&false) {
            return false;
        }
        let means = |rule: &AuditRule| {
            rule.indices.as_ref().is_none_or(|indices| indices.binary_search(&method).is_ok())
                && rule.caller.as_ref().is_none_or(|other| overlap(other, caller))
        };
        self.audit.is_some() || self.audits.iter().any(means)
    }

    fn unused_audit(&self, number: usize, rule: &AuditRule) -> Option<String> {
        if self.audit.is_some() {
            return Some("audit: all of the policy is in audit mode already".to_owned());
        }
        let needs: Vec<Need> = self.methods.needs().collect();
        let auditable = |method: &usize| {
            needs.get(*method).is_some_and(|need| need.roles() != 0)
                && self.never_audited.get(*method) == Some(&false)
        };
        let methods: Vec<usize> = match &rule.indices {
            Some(indices) => indices.iter().map(|index| index.index()).filter(auditable).collect(),
            None => (0..needs.len()).filter(auditable).collect(),
        };
        if methods.is_empty() {
            return Some("audit: none of these methods asks for a role other than debug".to_owned());
        }
        let covers = |other: &AuditRule| {
            let caller = other.caller.as_ref().is_none_or(|wide| {
                rule.caller.as_ref().is_some_and(|narrow| wide == narrow || covers(wide, narrow))
            });
            let has = |method: &usize| {
                let of = |index: &MethodIndex| index.index().cmp(method);
                other.indices.as_ref().is_none_or(|indices| indices.binary_search_by(of).is_ok())
            };
            caller && methods.iter().all(has)
        };
        let earlier = self.audits.iter().take(number).find(|other| covers(other));
        earlier.map(|other| format!("audit: line {} audits it already", other.line))
    }
}

fn denied(deny: &Deny, method: MethodIndex) -> Option<u32> {
    match deny {
        Deny::Nothing => None,
        Deny::Everything(rule) => Some(*rule),
        Deny::Some(rules) => rules.get(method.index()).copied().flatten(),
    }
}

/// Whether `wide` matches every caller that `narrow` matches.
fn covers(wide: &CallerPattern, narrow: &CallerPattern) -> bool {
    match (wide, narrow) {
        (wide, CallerPattern::Exact(id)) => wide.matches(id),
        (CallerPattern::Below(_), CallerPattern::Below(id)) => wide == narrow || wide.matches(id),
        (CallerPattern::Exact(_), CallerPattern::Below(_)) => false,
    }
}

fn overlap(a: &CallerPattern, b: &CallerPattern) -> bool {
    covers(a, b) || covers(b, a)
}

/// A measure of nearness, to be compared: the same trust domain, then common path segments, then common octets.
fn nearness(caller: &CallerPattern, id: &SpiffeId) -> (bool, usize, usize) {
    let (CallerPattern::Exact(other) | CallerPattern::Below(other)) = caller;
    let octets = common_octets(other.as_str(), id.as_str());
    (other.trust_domain() == id.trust_domain(), common_segments(other.path(), id.path()), octets)
}

fn common_octets(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// The segments that two paths begin with, the empty one before the first slash included.
fn common_segments(a: &str, b: &str) -> usize {
    let same = common_octets(a, b);
    let ended = a.bytes().take(same).filter(|octet| *octet == b'/').count();
    // The last one is common only if it ends in both where they part.
    let ends = |path: &str| matches!(path.as_bytes().get(same), None | Some(b'/'));
    ended + usize::from(ends(a) && ends(b))
}

#[cfg(test)]
mod tests {
    use super::common_segments;

    #[test]
    fn common_segments_are_whole_ones() {
        let pairs = [
            ("", "", 1),
            ("", "/a", 1),
            ("/a", "/a", 2),
            ("/a", "/b", 1),
            ("/a", "/a/b", 2),
            ("/a", "/ab", 1),
            ("/a/b/c", "/a/b/d", 3),
            ("/a/bc/d", "/a/bd/d", 2),
        ];
        for (a, b, count) in pairs {
            assert_eq!((common_segments(a, b), common_segments(b, a)), (count, count), "{a} and {b}");
            let by_segment = a.split('/').zip(b.split('/')).take_while(|(a, b)| a == b).count();
            assert_eq!(by_segment, count, "{a} and {b}");
        }
    }
}
