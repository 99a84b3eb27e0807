//! What a compiled policy grants and denies a peer: the look-ups of the hot path.

use avouch_spiffe::SpiffeId;

use super::{Binding, Conditional, Deny, Policy, SourceLocation};
use crate::condition::Certificate;
use crate::methods::MethodIndex;

/// The last bit of the depth mask stands for its own depth and all greater ones.
pub(super) const DEEPEST: u32 = 63;

/// What a policy grants and denies one peer on one method.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Grants {
    pub(crate) roles: u64,
    /// The deny rule that matched.
    pub(crate) denied: Option<u32>,
    /// The deny rule in audit mode that matched.
    pub(crate) audited: Option<u32>,
}

impl Policy {
    #[inline]
    pub(crate) fn grants(
        &self,
        id: &SpiffeId,
        certificate: Option<&Certificate<'_>>,
        method: MethodIndex,
    ) -> Grants {
        let mut grants = Grants::default();
        self.each_binding(id, |binding| {
            grants.roles |= binding.roles;
            let denied = match &binding.deny {
                Deny::Nothing => None,
                Deny::Everything(rule) => Some(*rule),
                Deny::Some(rules) => rules.get(method.index()).copied().flatten(),
            };
            grants.denied = grants.denied.or(denied);
            if let Some(conditional) = &binding.conditional {
                self.add_conditional(conditional, certificate, method, &mut grants);
            }
        });
        grants
    }

    /// Adds the roles with a condition, and the deny rules with a condition or in audit mode. Out of line, since most
    /// bindings have none of them.
    #[inline(never)]
    fn add_conditional(
        &self,
        conditional: &Conditional,
        certificate: Option<&Certificate<'_>>,
        method: MethodIndex,
        grants: &mut Grants,
    ) {
        for role in &conditional.roles {
            if role.condition.grants(certificate) {
                grants.roles |= 1 << role.bit;
            }
        }
        for number in &conditional.denies {
            let Some(rule) = self.deny_rule(*number) else { continue };
            let named = rule.indices.as_ref().is_none_or(|indices| indices.binary_search(&method).is_ok());
            if named && rule.condition.denies(certificate) {
                let found = if rule.audit { &mut grants.audited } else { &mut grants.denied };
                *found = found.or(Some(*number));
            }
        }
    }

    /// Calls `visit` with what is bound to `id` itself, then to each of its parents that has anything.
    #[inline]
    fn each_binding(&self, id: &SpiffeId, mut visit: impl FnMut(&Binding)) {
        let text = id.as_str();
        if let Some(binding) = self.exact.get(text) {
            visit(binding);
        }
        if self.depths == 0 {
            return;
        }
        let path = id.path();
        let start = text.len() - path.len();
        let slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        for (depth, (offset, _)) in (0_u32..).zip(slashes) {
            let depths = self.depths >> depth.min(DEEPEST);
            if depths == 0 {
                break;
            }
            if depths & 1 == 1
                && let Some(parent) = text.get(..start + offset)
                && let Some(binding) = self.below.get(parent)
            {
                visit(binding);
            }
        }
    }

    /// The line by which audit mode lets `id` call `method` though it lacks the role. There is none for an RPC that asks
    /// for the debug role, whose answers tell about everybody.
    #[cold]
    pub(crate) fn audit_of(&self, id: &SpiffeId, method: MethodIndex) -> Option<SourceLocation> {
        if self.never_audited.get(method.index()) != Some(&false) {
            return None;
        }
        let rule = || {
            self.audits.iter().find(|rule| {
                rule.caller.as_ref().is_none_or(|caller| caller.matches(id))
                    && rule.indices.as_ref().is_none_or(|indices| indices.binary_search(&method).is_ok())
            })
        };
        let line = self.audit.or_else(|| rule().map(|rule| rule.line))?;
        Some(self.location(Some(line)))
    }
}
