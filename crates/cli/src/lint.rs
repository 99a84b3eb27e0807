//! What is wrong with certificates, or could be better: one finding a line.
//!
//! An error breaks a MUST of RFC 5280 or of the SPIFFE standards, or is refused by avouch's own verifier; a warning breaks
//! a SHOULD, or is likely to hurt; a notice is worth knowing. Judges certificates and how they stand to one another, never
//! whom they belong to, whom to trust, nor the moment: what has ended is a warning.

mod many;
mod one;
mod verifier;

use crate::output::LONGEST_TEXT;
use avouch_text::{escape, shorten_to};
use one::Lint;
use serde_json::{Value, json};
use std::fmt;
use std::time::SystemTime;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Notice,
    Warning,
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// Never changes its meaning.
    pub(crate) id: &'static str,
    pub(crate) clause: &'static str,
    pub(crate) message: String,
    /// Which certificate: its file, and its number in it from 1.
    pub(crate) place: Place,
}

/// Where a certificate was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

impl Finding {
    /// One line: place, severity, id, what, and the clause.
    pub(crate) fn to_line(&self) -> String {
        let Self { severity, id, clause, message, place } = self;
        let message = shorten_to(message, LONGEST_TEXT);
        format!("{}: {}: {id} {message} ({clause})", escape(&place.to_string()), severity.word())
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.word(), "id": self.id, "clause": self.clause, "message": self.message,
            "file": self.place.file, "certificate": self.place.number,
        })
    }
}

/// The certificates of one file, in its order.
pub(crate) struct Sheet {
    pub(crate) file: String,
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Roots side by side rather than a chain.
    pub(crate) is_bundle: bool,
}

/// Everything found, worst first within a certificate.
pub(crate) fn lint(sheets: &[Sheet], now: SystemTime) -> Vec<Finding> {
    let mut found = Vec::new();
    for sheet in sheets {
        let mut of_sheet = Vec::new();
        for (at, der) in sheet.certificates.iter().enumerate() {
            let place = Place { file: sheet.file.clone(), number: at + 1 };
            of_sheet.extend(one::lint(der, &place, now));
        }
        if !sheet.is_bundle {
            of_sheet.extend(many::chain(sheet, now));
            // The verifier has the last word, unless it has been said already why it refuses.
            if !of_sheet.iter().any(verifier::explains) {
                of_sheet.extend(verifier::finding(sheet, now));
            }
        }
        found.extend(of_sheet);
    }
    found.extend(many::all(sheets));
    found.sort_by_key(|finding| {
        let file = sheets.iter().position(|sheet| sheet.file == finding.place.file);
        (file, finding.place.number, std::cmp::Reverse(finding.severity))
    });
    found
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
