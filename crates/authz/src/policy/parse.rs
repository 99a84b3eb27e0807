//! Parses a policy file. It collects all problems rather than stop at the first, and accepts nothing it does not know.

mod conditions;
mod rules;
mod test;

use std::collections::HashSet;

use avouch_text::suggest;
use toml::de::{DeArray, DeTable, DeValue};

use super::test::Test;
use super::{Policy, PolicyError, PolicyFault, PolicyProblem, SourceLocation};
use crate::methods::{MethodIndex, Methods};
use crate::pattern::CallerPattern;

/// The largest policy file. One with 10,000 rules has half of it, and a policy must fit into the message that serves it.
pub const MAX_POLICY_BYTES: usize = 1024 * 1024;

/// The byte order mark that some editors put before UTF-8 text.
const BOM: char = '\u{feff}';

/// The policy that `whole` describes, and its tests, which have not been run yet. `may_be_nothing`: whether a text
/// without content is accepted as a policy that gives nobody a role.
pub(crate) fn parse(
    source: &str,
    whole: &str,
    methods: &Methods,
    may_be_nothing: bool,
) -> Result<(Policy, Vec<Test>), PolicyError> {
    let text = whole.strip_prefix(BOM).unwrap_or(whole);
    let mut reader = Reader {
        policy: Policy::new(source, whole, methods),
        text,
        line_starts: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect(),
        problems: Vec::new(),
        audit_all: false,
        tests: Vec::new(),
    };
    if whole.len() > MAX_POLICY_BYTES {
        reader.problem(0, PolicyFault::TooLarge { got: whole.len(), allowed: MAX_POLICY_BYTES });
    } else {
        match DeTable::parse(text) {
            Ok(document) => {
                reader.document(document.get_ref());
                if !may_be_nothing && reader.problems.is_empty() {
                    reader.says_something(document.get_ref());
                }
            }
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                reader.problem(at, PolicyFault::Syntax(error.message().to_owned()));
            }
        }
    }
    let Reader { mut policy, problems, tests, .. } = reader;
    policy.tests = tests.len();
    PolicyError::unless_empty(problems).map(|()| (policy, tests))
}

struct Reader<'a> {
    policy: Policy,
    text: &'a str,
    line_starts: Vec<usize>,
    problems: Vec<PolicyProblem>,
    /// The mode of a deny rule without a mode of its own.
    audit_all: bool,
    tests: Vec<Test>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        // Before all other keys, which the table has in alphabetical order: the rules depend on it.
        if let Some((key, value)) = document.iter().find(|(key, _)| key.get_ref() == "mode") {
            let at = key.span().start;
            self.audit_all = self.mode(at, value) == Some(true);
            if self.audit_all {
                let line = self.line(at);
                self.policy.audit_all(line);
            }
        }
        for (key, value) in document {
            let at = key.span().start;
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("mode", _) => {}
                ("roles", DeValue::Table(roles)) => self.roles(roles),
                ("roles", _) => self.wrong_type(at, "roles", "a table: [roles]"),
                ("deny", DeValue::Array(rules)) => rules.iter().for_each(|rule| self.deny(rule)),
                ("deny", _) => self.wrong_type(at, "deny", "an array of tables: [[deny]]"),
                ("audit", DeValue::Array(rules)) => rules.iter().for_each(|rule| self.audit(rule)),
                ("audit", _) => self.wrong_type(at, "audit", "an array of tables: [[audit]]"),
                ("test", DeValue::Array(tests)) => tests.iter().for_each(|test| self.read_test(test)),
                ("test", _) => self.wrong_type(at, "test", "an array of tables: [[test]]"),
                (other, _) => self.unknown_key(at, other, &["mode", "roles", "deny", "audit", "test"]),
            }
        }
    }

    /// Refuses a file without content. A role that is bound to nobody counts as content, and so does the audit mode; a
    /// table header with nothing below it does not.
    fn says_something(&mut self, document: &DeTable<'_>) {
        let Policy { roles, denies, audit, audits, .. } = &self.policy;
        let roles = roles.iter().any(|role| role.line.is_some());
        if roles || !denies.is_empty() || audit.is_some() || !audits.is_empty() || !self.tests.is_empty() {
            return;
        }
        let why = if !document.is_empty() {
            "nothing in it binds, denies or tests anything"
        } else if self.text.trim().is_empty() {
            "the file is empty"
        } else {
            "the file has nothing but comments"
        };
        self.problem(0, PolicyFault::NoPolicy(why));
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

    /// The methods as written, and the indices of all methods that they stand for, sorted.
    fn methods(&mut self, at: usize, list: &DeArray<'_>) -> Option<(Vec<String>, Vec<MethodIndex>)> {
        if list.is_empty() {
            self.problem(at, PolicyFault::NoMethods);
            return None;
        }
        let mut seen = HashSet::new();
        let mut written = Vec::new();
        let mut indices = Vec::new();
        for (at, text) in self.strings(list, "a method") {
            let found = matching(&self.policy.methods, text);
            if found.is_empty() {
                let nearest = nearest_method(&self.policy.methods, text);
                self.problem(at, PolicyFault::UnknownMethod { method: text.to_owned(), nearest });
            } else if seen.insert(text) {
                written.push(text.to_owned());
                indices.extend(found);
            } else {
                self.problem(at, PolicyFault::MethodTwice(text.to_owned()));
            }
        }
        indices.sort_unstable();
        indices.dedup();
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
        let nearest = suggest(key, known.iter().copied());
        self.problem(at, PolicyFault::UnknownKey { key: key.to_owned(), nearest });
    }

    fn wrong_type(&mut self, at: usize, key: &'static str, expected: &'static str) {
        self.problem(at, PolicyFault::WrongType { key, expected });
    }

    fn problem(&mut self, at: usize, fault: PolicyFault) {
        let location = self.location(at);
        self.problems.push(PolicyProblem { location, fault });
    }

    fn location(&self, at: usize) -> SourceLocation {
        let line = self.line(at);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let column = self.text.get(start..at).map(|before| before.chars().count() + 1);
        SourceLocation { column, ..self.policy.location(Some(line)) }
    }

    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }
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
    suggest(text, candidates).map(str::to_owned)
}
