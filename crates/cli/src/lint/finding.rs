//! What is found, and how it is shown.

use avouch_text::{LONGEST_TEXT, escape, shorten_to};
use serde_json::{Value, json};
use std::fmt;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Notice,
    Warning,
    Error,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that is wrong with a certificate, or could be better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The id: it never changes its meaning.
    pub(crate) id: &'static str,
    pub(crate) clause: &'static str,
    pub(crate) message: String,
    pub(crate) certificate: CertificateRef,
}

/// The certificate that a finding is about: its file, and its number in it from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateRef {
    pub(crate) file: String,
    pub(crate) number: usize,
}

impl fmt::Display for CertificateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

impl Finding {
    /// The finding in a line: certificate, severity, id, message, and the clause.
    pub(crate) fn to_line(&self) -> String {
        let Self { severity, id, clause, message, certificate } = self;
        let message = shorten_to(message, LONGEST_TEXT);
        format!("{}: {}: {id} {message} ({clause})", escape(&certificate.to_string()), severity.word())
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.word(), "id": self.id, "clause": self.clause, "message": self.message,
            "file": self.certificate.file, "certificate": self.certificate.number,
        })
    }
}

/// The certificates of one file, in its order.
pub(crate) struct LintedFile {
    pub(crate) name: String,
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Whether they are roots side by side rather than a chain.
    pub(crate) is_bundle: bool,
}

/// The findings about one certificate, as they are made.
pub(super) struct Lint<'a> {
    certificate: &'a CertificateRef,
    found: Vec<Finding>,
}

impl<'a> Lint<'a> {
    pub(super) fn new(certificate: &'a CertificateRef) -> Self {
        Self { certificate, found: Vec::new() }
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.found
    }

    fn add(&mut self, severity: Severity, id: &'static str, clause: &'static str, message: String) {
        self.found.push(Finding { severity, id, clause, message, certificate: self.certificate.clone() });
    }

    pub(super) fn error(&mut self, id: &'static str, clause: &'static str, message: impl Into<String>) {
        self.add(Severity::Error, id, clause, message.into());
    }

    pub(super) fn has_error(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    pub(super) fn warning(&mut self, id: &'static str, clause: &'static str, message: impl Into<String>) {
        self.add(Severity::Warning, id, clause, message.into());
    }

    pub(super) fn notice(&mut self, id: &'static str, clause: &'static str, message: impl Into<String>) {
        self.add(Severity::Notice, id, clause, message.into());
    }
}
