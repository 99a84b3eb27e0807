//! A problem of a policy file as a person sees it: what, the lines around it with a mark under the place, what to do.

use avouch_authz::{CallerClass, PolicyFault, PolicyProblem};
use avouch_text::{clean, is_printable};
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use serde_json::{Value, json};
use std::fmt;

/// Octets of the longest line that is shown.
const LONGEST_LINE: usize = 500;

/// A problem, with the text it is in.
#[derive(Debug)]
pub(super) struct Problem {
    message: String,
    place: String,
    help: Option<&'static str>,
    code: &'static str,
    /// The text; none if lines there are too long to be looked at.
    source: Option<NamedSource<String>>,
    /// Octets from the start of the text, and how many.
    span: (usize, usize),
}

impl Problem {
    pub(super) fn new(problem: &PolicyProblem, name: &str, text: &str) -> Self {
        // Places do not count a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let at = offset(text, problem.location.line, problem.location.column);
        Self {
            message: clean(&problem.fault.to_string()),
            place: clean(&problem.location.to_string()),
            help: help(&problem.fault),
            code: code(&problem.fault),
            source: looked_at(text, problem.location.line)
                .then(|| NamedSource::new(clean(name), harmless(text))),
            span: (at, word(text.get(at..).unwrap_or_default())),
        }
    }
}

pub(super) fn json(problem: &PolicyProblem) -> Value {
    json!({
        "code": code(&problem.fault),
        "line": problem.location.line,
        "column": problem.location.column,
        "problem": problem.fault.to_string(),
    })
}

/// A class of callers, with the certificates that matter.
pub(super) fn caller(class: &CallerClass, certificates: &[String]) -> String {
    if certificates.is_empty() {
        return class.to_string();
    }
    format!("{class} [{}]", certificates.join("; or "))
}

fn code(fault: &PolicyFault) -> &'static str {
    match fault {
        PolicyFault::TestFailed { .. } => "POLICY_TEST_FAILED",
        _ => "POLICY_INVALID",
    }
}

fn help(fault: &PolicyFault) -> Option<&'static str> {
    Some(match fault {
        PolicyFault::TestFailed { .. } => {
            "either the test or the policy is wrong; `avouch policy matrix` without the test shows who may call what"
        }
        PolicyFault::UnknownRole { .. } => {
            "roles are those that the protos ask for: option (avouch.authz.v1.rule) = { roles: [\"…\"] }"
        }
        PolicyFault::NoPolicy(_) => {
            "bind callers to roles, `ROLE = [\"spiffe://…\"]` under [roles]; `avouch policy matrix` then shows who may call what"
        }
        PolicyFault::UnknownMethod { .. } => {
            "a method is /package.Service/Method, or /package.Service/* for all of one"
        }
        _ => return None,
    })
}

/// Whether there are a line and neighbours to show, and they fit onto a screen.
fn looked_at(text: &str, line: Option<usize>) -> bool {
    let before = line.unwrap_or(1).saturating_sub(2);
    !text.is_empty() && text.lines().skip(before).take(4).all(|line| line.len() <= LONGEST_LINE)
}

/// The text with every unprintable character replaced by `?`, one per octet, so that offsets stay valid.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || is_printable(c) {
            harmless.push(c);
        } else {
            harmless.extend(std::iter::repeat_n('?', c.len_utf8()));
        }
    }
    harmless
}

/// The offset of a line and column in a text.
fn offset(text: &str, line: Option<usize>, column: Option<usize>) -> usize {
    let skip = line.unwrap_or(1).saturating_sub(1);
    let start: usize = text.split_inclusive('\n').take(skip).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    let within: usize = rest.chars().take(column.unwrap_or(1).saturating_sub(1)).map(char::len_utf8).sum();
    start + within
}

/// The length of the string, header or word at the beginning of a text.
fn word(text: &str) -> usize {
    let line = text.lines().next().unwrap_or_default();
    let end = match line.chars().next() {
        Some('"') => line.char_indices().skip(1).find(|(_, c)| *c == '"').map(|(at, _)| at + 1),
        Some('[') => line.rfind(']').map(|at| at + 1),
        _ => line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')),
    };
    end.unwrap_or(line.len()).max(usize::from(!line.is_empty()))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        let (at, length) = self.span;
        Some(Box::new(std::iter::once(LabeledSpan::new(Some("here".to_owned()), at, length))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_behind_characters_of_several_octets() {
        let text = "# é\nstäff = [\"x\"]\n";
        assert_eq!(text.get(offset(text, Some(2), Some(10))..).unwrap(), "\"x\"]\n");
        assert_eq!(offset(text, Some(99), Some(99)), text.len());
        assert_eq!(offset(text, None, None), 0);
    }

    #[test]
    fn what_moves_a_terminal_is_blanked_and_places_stay() {
        let text = "a\u{1b}[2J\u{202e}b\té\n";
        assert_eq!(harmless(text), "a?[2J???b\té\n");
        assert_eq!(harmless(text).len(), text.len());
        assert!(!looked_at(&"#".repeat(501), Some(1)));
        assert!(looked_at("x\ny\n", None));
    }

    #[test]
    fn a_mark_is_as_long_as_what_it_marks() {
        for (text, length) in
            [("\"spiffe://x\", y", 12), ("[[test]] # x", 8), ("staff = 1", 5), ("= 1", 1), ("", 0)]
        {
            assert_eq!(word(text), length, "{text}");
        }
    }
}
