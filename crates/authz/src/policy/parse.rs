//! Reads a policy file. It collects every problem before it gives up, and accepts nothing it does not understand.

use std::collections::HashSet;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{DenyRule, Place, Policy, PolicyError, PolicyFault, PolicyProblem};
use crate::methods::{MethodIndex, Methods};
use crate::pattern::CallerPattern;
use crate::suggest::nearest;

pub(super) fn parse(source: &str, text: &str, methods: &Methods) -> Result<Policy, PolicyError> {
    let mut reader = Reader {
        policy: Policy::new(source, text, methods),
        text,
        line_starts: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect(),
        problems: Vec::new(),
    };
    match DeTable::parse(text) {
        Ok(document) => reader.document(document.get_ref()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            reader.problem(at, PolicyFault::Syntax(error.message().to_owned()));
        }
    }
    let Reader { policy, mut problems, .. } = reader;
    if problems.is_empty() {
        Ok(policy)
    } else {
        problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
        Err(PolicyError::Invalid(problems))
    }
}

struct Reader<'a> {
    policy: Policy,
    text: &'a str,
    line_starts: Vec<usize>,
    problems: Vec<PolicyProblem>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        for (key, value) in document {
            let at = key.span().start;
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("roles", DeValue::Table(roles)) => self.roles(roles),
                ("roles", _) => self.wrong_type(at, "roles", "a table: [roles]"),
                ("deny", DeValue::Array(rules)) => {
                    for rule in rules.iter() {
                        self.deny(rule);
                    }
                }
                ("deny", _) => self.wrong_type(at, "deny", "an array of tables: [[deny]]"),
                (other, _) => self.unknown_key(at, other, &["roles", "deny"]),
            }
        }
    }

    fn roles(&mut self, roles: &DeTable<'_>) {
        for (role, callers) in roles {
            let at = role.span().start;
            let name = role.get_ref().as_ref();
            let known = self.policy.methods.roles();
            let Ok(bit) = known.binary_search(&name) else {
                let nearest = nearest_static(name, known);
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
            for (at, text) in self.strings(callers, "a caller") {
                let Some(caller) = self.caller(at, text) else { continue };
                if seen.insert(text) {
                    self.policy.bind(bit, caller);
                } else {
                    self.problem(at, PolicyFault::CallerTwice(text.to_owned()));
                }
            }
        }
    }

    fn deny(&mut self, rule: &Spanned<DeValue<'_>>) {
        let rule_at = rule.span().start;
        let DeValue::Table(fields) = rule.get_ref() else {
            return self.wrong_type(rule_at, "deny", "an array of tables: [[deny]]");
        };
        let before = self.problems.len();
        let mut caller = None;
        let mut methods = None;
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
        match caller {
            Some(caller) if self.problems.len() == before => {
                let (written, indices) = methods.unzip();
                let rule = DenyRule { caller, methods: written, line: self.line(rule_at) };
                self.policy.deny(rule, indices.as_deref());
            }
            None if self.problems.len() == before => self.problem(rule_at, PolicyFault::NoCaller),
            _ => {}
        }
    }

    fn caller(&mut self, at: usize, text: &str) -> Option<CallerPattern> {
        match text.parse() {
            Ok(caller) => Some(caller),
            Err(error) => {
                self.problem(at, PolicyFault::Caller { text: text.to_owned(), error });
                None
            }
        }
    }

    /// The methods as written, and all that they stand for.
    fn methods(&mut self, at: usize, list: &DeArray<'_>) -> Option<(Vec<String>, Vec<MethodIndex>)> {
        if list.is_empty() {
            self.problem(at, PolicyFault::NoMethods);
            return None;
        }
        let mut written = Vec::new();
        let mut indices = Vec::new();
        for (at, text) in self.strings(list, "a method") {
            let found = matching(&self.policy.methods, text);
            if found.is_empty() {
                let nearest = nearest_method(&self.policy.methods, text);
                self.problem(at, PolicyFault::UnknownMethod { method: text.to_owned(), nearest });
            } else if written.iter().any(|earlier| earlier == text) {
                self.problem(at, PolicyFault::MethodTwice(text.to_owned()));
            } else {
                written.push(text.to_owned());
                indices.extend(found);
            }
        }
        Some((written, indices))
    }

    /// The strings of an array with their offsets; anything else in it is a problem.
    fn strings<'t>(&mut self, array: &'t DeArray<'_>, what: &'static str) -> Vec<(usize, &'t str)> {
        let mut strings = Vec::with_capacity(array.len());
        for value in array.iter() {
            match value.get_ref() {
                DeValue::String(text) => strings.push((value.span().start, text.as_ref())),
                _ => self.wrong_type(value.span().start, what, "a string"),
            }
        }
        strings
    }

    fn unknown_key(&mut self, at: usize, key: &str, known: &[&'static str]) {
        let nearest = nearest_static(key, known);
        self.problem(at, PolicyFault::UnknownKey { key: key.to_owned(), nearest });
    }

    fn wrong_type(&mut self, at: usize, key: &'static str, expected: &'static str) {
        self.problem(at, PolicyFault::WrongType { key, expected });
    }

    fn problem(&mut self, at: usize, fault: PolicyFault) {
        let line = self.line(at);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let column = self.text.get(start..at).map(|before| before.chars().count() + 1);
        let place = Place { column, ..self.policy.place(Some(line)) };
        self.problems.push(PolicyProblem { place, fault });
    }

    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }
}

fn nearest_static(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let found = nearest(word, known.iter().copied())?;
    known.iter().copied().find(|known| *known == found)
}

/// One method by its path, or all of a service by `/package.Service/*`.
fn matching(methods: &Methods, text: &str) -> Vec<MethodIndex> {
    let Some(service) = text.strip_suffix('*') else {
        return methods.index_of(text).into_iter().collect();
    };
    // `/package.Service/`: a star after anything else would match across names.
    if !service.ends_with('/') || service.len() < 3 {
        return Vec::new();
    }
    let of_service = methods.iter().filter(|method| method.path.starts_with(service));
    of_service.filter_map(|method| methods.index_of(method.path)).collect()
}

fn nearest_method(methods: &Methods, text: &str) -> Option<String> {
    let services: HashSet<String> = methods
        .iter()
        .filter_map(|method| method.path.rsplit_once('/'))
        .map(|(service, _)| format!("{service}/*"))
        .collect();
    let candidates = methods.iter().map(|method| method.path).chain(services.iter().map(String::as_str));
    nearest(text, candidates).map(str::to_owned)
}
