//! How a compiled policy sees a peer: the look-ups of the hot path.

use avouch_spiffe::SpiffeId;

use super::{Binding, Deny, More, Place, Policy};
use crate::condition::Certificate;
use crate::methods::MethodIndex;

/// The last bit of the depth mask stands for its own depth and all greater ones.
pub(super) const DEEPEST: u32 = 63;

/// How a policy sees one peer on one method.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) roles: u64,
    /// The deny rule that matched.
    pub(crate) denied: Option<u32>,
    /// The deny rule that matched and is in audit mode.
    pub(crate) audited: Option<u32>,
}

impl Policy {
    #[inline]
    pub(crate) fn standing(
        &self,
        id: &SpiffeId,
        certificate: Option<&Certificate<'_>>,
        method: MethodIndex,
    ) -> Standing {
        let mut standing = Standing::default();
        self.each_binding(id, |binding| {
            standing.roles |= binding.roles;
            let denied = match &binding.deny {
                Deny::Nothing => None,
                Deny::Everything(rule) => Some(*rule),
                Deny::Some(rules) => rules.get(method.index()).copied().flatten(),
            };
            standing.denied = standing.denied.or(denied);
            if let Some(more) = &binding.more {
                self.weigh(more, certificate, method, &mut standing);
            }
        });
        standing
    }

    /// What depends on the certificate, and what does not refuse.
    #[inline(never)]
    fn weigh(
        &self,
        more: &More,
        certificate: Option<&Certificate<'_>>,
        method: MethodIndex,
        standing: &mut Standing,
    ) {
        for role in &more.roles {
            if role.condition.grants(certificate) {
                standing.roles |= 1 << role.bit;
            }
        }
        for number in &more.denies {
            let Some(rule) = self.deny_rule(*number) else { continue };
            let named = rule.indices.as_ref().is_none_or(|indices| indices.binary_search(&method).is_ok());
            if named && rule.condition.denies(certificate) {
                let found = if rule.audit { &mut standing.audited } else { &mut standing.denied };
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

    /// What keeps a missing role from refusing `id` on `method`: the line that says so. Nothing keeps it on an RPC that
    /// asks for the debug role, whose answers tell about everybody.
    #[cold]
    pub(crate) fn audit_of(&self, id: &SpiffeId, method: MethodIndex) -> Option<Place> {
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
        Some(self.place(Some(line)))
    }
}
