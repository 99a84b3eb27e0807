//! The errors of commands, each with help on what to do next.

use avouch_files::pem::Form;
use avouch_fleet::FleetError;
use avouch_spiffe::SpiffeId;
use avouch_text::{LONGEST_TEXT, shorten, shorten_path, shorten_to};
use miette::Diagnostic;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A command's failure. Paths, and what others say, are on one line and cut where they are very long.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("cannot read {}", shorten_path(.path))]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Policy(#[from] avouch_authz::PolicyError),
    #[error("cannot write {}", shorten_path(.path))]
    Write { path: PathBuf, source: io::Error },
    #[error("{id} is registered already, with {} instead of {}", shorten(.found), shorten(.wanted))]
    RegisteredOtherwise { id: SpiffeId, found: String, wanted: String },
    #[error("{} holds no certificate: {}", shorten_path(.path), .form.name())]
    NoCertificate { path: PathBuf, form: Form },
    #[error("{} cannot be used: {}", shorten_path(.path), shorten_to(.problem, LONGEST_TEXT))]
    Unusable { path: PathBuf, problem: String, help: String },
    #[error("{} is there already", shorten_path(.path))]
    Exists { path: PathBuf },
    #[error("{target} showed no certificate: {}", shorten(.problem))]
    NoChain { target: String, problem: String },
    #[error("a PKCS#12 archive needs a password")]
    NoPassword,
    #[error("the system gives no random numbers")]
    NoRandomness,
    #[error("the form is not for a terminal")]
    BinaryToTerminal,
    #[error("{} cannot be run", shorten_path(.program))]
    Program { program: PathBuf, source: io::Error },
    #[error("nobody could be asked: {}", listed(.silences, "; "))]
    NobodyAnswers { silences: Vec<String> },
    #[error("no methods are known to judge the policy by")]
    NoApi,
    #[error("there is no proto below {}", shorten_path(.0))]
    NoProtos(PathBuf),
    #[error("{0}")]
    Api(String),
    #[error("nobody who answers is {}{}", shorten(.service), names(.known))]
    NoService { service: String, known: Vec<String> },
    #[error("nobody who answers serves {}", shorten(.method))]
    NobodyServes { method: String },
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
    #[error("{message}")]
    NotOnRecord { message: String, help: String },
    #[error("this program cannot start")]
    Runtime(#[source] io::Error),
}

/// The most items that are shown of a list that others wrote.
const SHOWN: usize = 20;

fn listed(texts: &[String], between: &str) -> String {
    let shown: Vec<_> = texts.iter().take(SHOWN).map(|text| shorten_to(text, LONGEST_TEXT)).collect();
    match texts.len().saturating_sub(SHOWN) {
        0 => shown.join(between),
        more => format!("{}{between}and {more} more", shown.join(between)),
    }
}

fn names(known: &[String]) -> String {
    let mut known: Vec<_> = known.iter().filter(|name| !name.is_empty()).cloned().collect();
    known.sort_unstable();
    known.dedup();
    if known.is_empty() { String::new() } else { format!("; there are {}", listed(&known, ", ")) }
}

impl CliError {
    /// The error for a status of the issuer, with the help that fits what it was asked for.
    pub(crate) fn refused(status: &tonic::Status, help: Option<String>) -> Self {
        FleetError::refused(status, help).into()
    }

    /// An answer of the issuer that does not fit the protocol.
    pub(crate) fn answer(problem: impl fmt::Display) -> Self {
        FleetError::Answer(problem.to_string()).into()
    }

    /// The reader of the output's pipe closed it, which is not an error.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Diagnostic for CliError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self {
            Self::Fleet(error) => error.code().map(|code| Box::new(code) as Box<dyn fmt::Display>),
            _ => None,
        }
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = match self {
            Self::Fleet(error) => return error.help().map(|help| Box::new(help) as Box<dyn fmt::Display>),
            Self::RegisteredOtherwise { id, .. } => {
                format!(
                    "look at it with `avouch entry show {id}`; to change it, remove it first with `avouch entry rm {id}`"
                )
            }
            Self::NotOnRecord { help, .. } => help.clone(),
            Self::NobodyAnswers { .. } => {
                "run this as the user the issuer runs as; or name whom to ask with --identity DIR and \
                 --workload HOST:PORT=SPIFFE_ID"
                    .to_owned()
            }
            Self::NoCertificate { .. } => "expected one or more PEM certificates, or one in DER".to_owned(),
            Self::Unusable { help, .. } => help.clone(),
            Self::Exists { .. } => "choose another name, or replace it with --force".to_owned(),
            Self::NoChain { target, .. } => format!("see each step with `avouch handshake {target}`"),
            Self::NoPassword => {
                "name a file whose first line is the password with --password-file".to_owned()
            }
            Self::BinaryToTerminal => "write it into a file with --out FILE".to_owned(),
            Self::Program { .. } => {
                "name a program of avouch by its path, as in ./target/debug/orders".to_owned()
            }
            Self::NoApi => "no service answers that could tell its methods; name them: --proto DIR, --descriptors FILE, or --service NAME".to_owned(),
            Self::NobodyServes { .. } => {
                "a method is /package.Service/Method; `avouch edges` shows who calls what, and --policy FILE with --proto \
                 DIR asks a file"
                    .to_owned()
            }
            _ => return None,
        };
        Some(Box::new(help))
    }
}
