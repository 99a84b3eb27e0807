//! `avouch cert`: look into certificates, judge them, turn them into another form; list what was issued. All but the list
//! need no issuer.

mod convert;
mod inspect;
mod lint;
mod list;
mod renewal;

use crate::args::{Arguments, CertCommand};
use crate::error::CliError;
use crate::inspect::{Document, Unreadable};
use std::path::Path;
use std::process::ExitCode;

pub(crate) async fn run(arguments: &Arguments, command: &CertCommand) -> Result<ExitCode, CliError> {
    match command {
        CertCommand::Inspect(args) => inspect::run(arguments, args).await,
        CertCommand::Lint(args) => lint::run(arguments, args),
        CertCommand::Convert(args) => convert::run(args),
        CertCommand::NeedsRenewal(args) => renewal::run(arguments, args),
        CertCommand::List(filter) => list::run(arguments, filter).await,
    }
}

/// What a file holds.
fn document(path: &Path, content: &[u8]) -> Result<Document, CliError> {
    Document::parse(content).map_err(|unreadable| match unreadable {
        Unreadable::Nothing => CliError::NoCertificate(path.to_owned()),
        Unreadable::Pkcs12 => CliError::Unusable {
            path: path.to_owned(),
            problem: "it is a PKCS#12 archive, which is encrypted".to_owned(),
            help: format!(
                "take the certificates out of it: `openssl pkcs12 -in {} -nokeys -out certificates.pem`",
                path.display()
            ),
        },
        Unreadable::Json(problem) => CliError::Unusable {
            path: path.to_owned(),
            problem: format!("it is no SPIFFE bundle: {problem}"),
            help: "expected a SPIFFE bundle, as `avouch bundle show --json` writes it".to_owned(),
        },
    })
}
