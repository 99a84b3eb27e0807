//! Puts the parsed bindings and rules into the tables that decisions look up.

use std::sync::Arc;

use super::grants::DEEPEST;
use super::{AuditRule, Binding, BoundCaller, Conditional, ConditionalRole, Deny, DenyRule, Policy};
use crate::methods::MethodIndex;
use crate::pattern::CallerPattern;

impl Policy {
    fn binding_mut(&mut self, caller: &CallerPattern) -> &mut Binding {
        match caller {
            CallerPattern::Exact(id) => self.exact.entry(id.as_str().into()).or_default(),
            CallerPattern::Below(parent) => {
                let depth = parent.path().bytes().filter(|byte| *byte == b'/').count();
                let depth = u32::try_from(depth).unwrap_or(DEEPEST).min(DEEPEST);
                self.depths |= 1 << depth;
                self.below.entry(parent.as_str().into()).or_default()
            }
        }
    }

    /// Adds a caller to a role.
    pub(super) fn bind(&mut self, bit: usize, bound: BoundCaller) {
        self.asks_for_the_time |= bound.condition.asks_for_the_time();
        let at = self.roles.get(bit).map_or(0, |role| role.callers.len());
        let binding = self.binding_mut(&bound.caller);
        if bound.condition.is_empty() {
            binding.roles |= 1 << bit;
        } else {
            let condition = Arc::clone(&bound.condition);
            binding.conditional().roles.push(ConditionalRole { bit, at, condition });
        }
        if let Some(role) = self.roles.get_mut(bit) {
            role.callers.push(bound);
        }
    }

    /// Adds a deny rule.
    pub(super) fn deny(&mut self, rule: DenyRule) {
        self.asks_for_the_time |= rule.condition.asks_for_the_time();
        let number = u32::try_from(self.denies.len()).unwrap_or(u32::MAX);
        let count = self.methods.len();
        let binding = self.binding_mut(&rule.caller);
        if rule.audit || !rule.condition.is_empty() {
            binding.conditional().denies.push(number);
        } else {
            binding.deny.add(number, rule.indices.as_deref(), count);
        }
        self.denies.push(rule);
    }

    /// Adds an audit rule.
    pub(super) fn audit(&mut self, rule: AuditRule) {
        self.audits.push(rule);
    }

    /// Puts the whole policy into audit mode, by this line.
    pub(super) fn audit_all(&mut self, line: usize) {
        self.audit = Some(line);
    }
}

impl Binding {
    fn conditional(&mut self) -> &mut Conditional {
        self.conditional.get_or_insert_default()
    }
}

impl Deny {
    /// Adds rule `number` for some of `count` methods, `None` for all.
    fn add(&mut self, number: u32, denied: Option<&[MethodIndex]>, count: usize) {
        match (denied, &mut *self) {
            (_, Self::Everything(_)) => {}
            (None, _) => *self = Self::Everything(number),
            (Some(methods), known) => {
                if let Self::Nothing = known {
                    *known = Self::Some(vec![None; count].into());
                }
                if let Self::Some(rules) = known {
                    for method in methods {
                        if let Some(rule) = rules.get_mut(method.index()) {
                            *rule = rule.or(Some(number));
                        }
                    }
                }
            }
        }
    }
}
