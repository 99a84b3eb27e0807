//! Reads files of certificates, and says what a file holds instead.

use crate::error::CliError;
use crate::inspect::{Document, Unreadable};
use avouch_files::pem::{Form, Kind, PemError};
use avouch_text::shorten_path;
use std::path::Path;

/// The content of a file, if all of it can be read.
pub(super) fn document(path: &Path, content: &[u8]) -> Result<Document, CliError> {
    Document::parse(content).and_then(Document::whole).map_err(|unreadable| refused(path, unreadable))
}

/// The error for a file that is not read: why, and what to do about it.
pub(super) fn refused(path: &Path, unreadable: Unreadable) -> CliError {
    let unusable =
        |problem: String, help: String| CliError::Unusable { path: path.to_owned(), problem, help };
    match unreadable {
        Unreadable::Pem(PemError::NotPem { form, .. })
            if matches!(form, Form::Empty | Form::Text | Form::Binary | Form::Der) =>
        {
            CliError::NoCertificate { path: path.to_owned(), form }
        }
        Unreadable::Pem(error) => {
            let problem = match error {
                PemError::NotPem { form, .. } => form.name(), // other forms than PEM are read, too
                error => error.to_string(),
            };
            let help = "expected certificates in PEM, each with its BEGIN and END on lines of their own";
            unusable(problem, error.mend(path).unwrap_or_else(|| help.to_owned()))
        }
        Unreadable::Key(kind, wrong) => {
            let problem = match wrong {
                Some(PemError::NotPem { form, .. }) => format!("{}, and no certificate", form.name()),
                _ => format!("it holds {} and no certificate", kind.name()),
            };
            unusable(problem, key_help(path, kind, wrong))
        }
        Unreadable::Json(problem) => unusable(
            format!("it is no SPIFFE bundle: {problem}"),
            "expected a SPIFFE bundle, as `avouch bundle show --json` writes it".to_owned(),
        ),
    }
}

/// The help for a key that was named in place of a certificate.
fn key_help(path: &Path, kind: Kind, wrong: Option<PemError>) -> String {
    let certificate = "name the file with its certificate to look into that";
    match wrong {
        None => format!("it can be used as a key as it is; {certificate}"),
        Some(_) if kind == Kind::PublicKey => certificate.to_owned(),
        Some(error) => match error.mend(path) {
            Some(mend) => format!("to use it as a key: {mend}; {certificate}"),
            None => format!("it cannot be used as a key: {error}; {certificate}"),
        },
    }
}

/// The error for a file of certificate signing requests where certificates are wanted.
pub(super) fn only_requests(path: &Path) -> CliError {
    CliError::Unusable {
        path: path.to_owned(),
        problem: "it holds certificate signing requests and no certificate".to_owned(),
        help: format!("look at it with `avouch cert inspect {}`", shorten_path(path)),
    }
}
