//! Roles, deny rules, audit rules and modes.

use std::collections::HashSet;
use std::sync::Arc;

use avouch_text::suggest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Reader;
use crate::condition::{Condition, KEYS};
use crate::policy::{AuditRule, BoundCaller, ConditionFault, DenyRule, PolicyFault};

impl Reader<'_> {
    /// Whether a mode is audit; `None` if it is neither of the two.
    pub(super) fn mode(&mut self, at: usize, value: &Spanned<DeValue<'_>>) -> Option<bool> {
        match value.get_ref() {
            DeValue::String(mode) => match mode.as_ref() {
                "enforce" => return Some(false),
                "audit" => return Some(true),
                other => {
                    let nearest = suggest(other, ["enforce", "audit"]);
                    self.problem(value.span().start, PolicyFault::Mode { mode: other.to_owned(), nearest });
                }
            },
            _ => self.wrong_type(at, "mode", "a string: \"enforce\" or \"audit\""),
        }
        None
    }

    pub(super) fn roles(&mut self, roles: &DeTable<'_>) {
        for (role, callers) in roles {
            let at = role.span().start;
            let name = role.get_ref().as_ref();
            let known = self.policy.methods.roles();
            let Ok(bit) = known.binary_search(&name) else {
                let nearest = suggest(name, known.iter().copied());
                self.problem(at, PolicyFault::UnknownRole { role: name.to_owned(), nearest });
                continue;
            };
            let line = self.line(at);
            if let Some(binding) = self.policy.roles.get_mut(bit) {
                binding.line = Some(line);
            }
            let DeValue::Array(callers) = callers.get_ref() else {
                self.wrong_type(at, "a role", "an array of callers: [\"spiffe://…\"]");
                continue;
            };
            let mut seen = HashSet::new();
            for value in callers.iter() {
                let Some(bound) = self.bound_caller(value) else { continue };
                if seen.insert((bound.caller.clone(), Arc::clone(&bound.condition))) {
                    self.policy.bind(bit, bound);
                } else {
                    self.problem(value.span().start, PolicyFault::CallerTwice(bound.to_string()));
                }
            }
        }
    }

    /// `"spiffe://…"`, or `{ caller = "spiffe://…", … }` with conditions.
    fn bound_caller(&mut self, value: &Spanned<DeValue<'_>>) -> Option<BoundCaller> {
        let at = value.span().start;
        let line = self.line(at);
        match value.get_ref() {
            DeValue::String(text) => {
                let caller = self.caller(at, text)?;
                Some(BoundCaller { caller, condition: Arc::default(), line })
            }
            DeValue::Table(fields) => {
                let before = self.problems.len();
                let mut caller = None;
                let mut condition = Condition::default();
                for (key, value) in fields {
                    let at = key.span().start;
                    match (key.get_ref().as_ref(), value.get_ref()) {
                        ("caller", DeValue::String(text)) => caller = self.caller(value.span().start, text),
                        ("caller", _) => self.wrong_type(at, "caller", "a string"),
                        (other, _) if self.condition(&mut condition, at, other, value) => {}
                        (other, _) => self.unknown_key(at, other, &with_conditions(&["caller"])),
                    }
                }
                self.check_role_condition(at, &condition);
                if caller.is_none() && self.problems.len() == before {
                    self.problem(at, PolicyFault::Condition(ConditionFault::NoCaller));
                }
                let good = self.problems.len() == before;
                caller.filter(|_| good).map(|caller| BoundCaller {
                    caller,
                    condition: Arc::new(condition),
                    line,
                })
            }
            _ => {
                self.wrong_type(at, "a caller", "a string, or a table with conditions");
                None
            }
        }
    }

    pub(super) fn deny(&mut self, rule: &Spanned<DeValue<'_>>) {
        let rule_at = rule.span().start;
        let DeValue::Table(fields) = rule.get_ref() else {
            return self.wrong_type(rule_at, "deny", "an array of tables: [[deny]]");
        };
        let before = self.problems.len();
        let (mut caller, mut methods, mut audit) = (None, None, self.audit_all);
        let mut condition = Condition::default();
        for (key, value) in fields {
            let at = key.span().start;
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("caller", DeValue::String(text)) => caller = self.caller(value.span().start, text),
                ("caller", _) => self.wrong_type(at, "caller", "a string"),
                ("methods", DeValue::Array(list)) => methods = self.methods(at, list),
                ("methods", _) => self.wrong_type(at, "methods", "an array of strings"),
                ("mode", _) => audit = self.mode(at, value).unwrap_or_default(),
                (other, _) if self.condition(&mut condition, at, other, value) => {}
                (other, _) => self.unknown_key(at, other, &with_conditions(&["caller", "methods", "mode"])),
            }
        }
        self.check_deny_condition(rule_at, &condition);
        match caller {
            Some(caller) if self.problems.len() == before => {
                let (methods, indices) = methods.unzip();
                let line = self.line(rule_at);
                self.policy.deny(DenyRule { caller, condition, methods, indices, audit, line });
            }
            None if self.problems.len() == before => self.problem(rule_at, PolicyFault::NoCaller),
            _ => {}
        }
    }

    pub(super) fn audit(&mut self, rule: &Spanned<DeValue<'_>>) {
        let rule_at = rule.span().start;
        let DeValue::Table(fields) = rule.get_ref() else {
            return self.wrong_type(rule_at, "audit", "an array of tables: [[audit]]");
        };
        let before = self.problems.len();
        let (mut caller, mut methods) = (None, None);
        for (key, value) in fields {
            let at = key.span().start;
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("caller", DeValue::String(text)) => caller = self.caller(value.span().start, text),
                ("caller", _) => self.wrong_type(at, "caller", "a string"),
                ("methods", DeValue::Array(list)) => methods = self.methods(at, list),
                ("methods", _) => self.wrong_type(at, "methods", "an array of strings"),
                (other, _) => self.unknown_key(at, other, &["caller", "methods"]),
            }
        }
        if self.problems.len() > before {
            return;
        }
        if caller.is_none() && methods.is_none() {
            return self.problem(rule_at, PolicyFault::AuditWithoutAnything);
        }
        let line = self.line(rule_at);
        self.policy.audit(AuditRule { caller, indices: methods.map(|(_, indices)| indices), line });
    }
}

fn with_conditions(keys: &[&'static str]) -> Vec<&'static str> {
    keys.iter().copied().chain(KEYS).collect()
}
