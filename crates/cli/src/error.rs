//! What can go wrong, each with the line that says what to do next.

use crate::explain::What;
use crate::output::LONGEST_TEXT;
use avouch_files::pem::Form;
use avouch_spiffe::{Reason, SpiffeId};
use avouch_text::{shorten, shorten_to};
use miette::Diagnostic;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use tonic_types::StatusExt;

/// A command's failure. Paths, and what others say, are on one line and cut where they are very long.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    #[error("no issuer of this user is running: there is no administration socket in {}", paths(.looked_in))]
    NoSocket { looked_in: Vec<PathBuf> },
    #[error("several issuers are running: {}", paths(.found))]
    ManySockets { found: Vec<PathBuf> },
    #[error("no issuer answers on {}", shown(.socket))]
    Unreachable { socket: PathBuf, source: io::Error },
    #[error("{}", shorten_to(.message, LONGEST_TEXT))]
    Refused {
        code: tonic::Code,
        reason: Option<Reason>,
        message: String,
        /// Under which the issuer has it on record.
        decision: Option<String>,
        help: Option<String>,
    },
    #[error("cannot read {}", shown(.path))]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Policy(#[from] avouch_authz::PolicyError),
    #[error("cannot write {}", shown(.path))]
    Write { path: PathBuf, source: io::Error },
    #[error("{id} is registered already, with {} instead of {}", shorten(.found), shorten(.wanted))]
    RegisteredOtherwise { id: SpiffeId, found: String, wanted: String },
    #[error("{} holds no certificate: {}", shown(.path), .form.name())]
    NoCertificate { path: PathBuf, form: Form },
    #[error("{} cannot be used: {}", shown(.path), shorten_to(.problem, LONGEST_TEXT))]
    Unusable { path: PathBuf, problem: String, help: String },
    #[error("{} is there already", shown(.path))]
    Exists { path: PathBuf },
    #[error("{target} showed no certificate: {}", shorten(.problem))]
    NoChain { target: String, problem: String },
    #[error("a PKCS#12 archive needs a password")]
    NoPassword,
    #[error("the system gives no random numbers")]
    NoRandomness,
    #[error("the form is not for a terminal")]
    BinaryToTerminal,
    #[error("{} cannot be run", shown(.program))]
    Program { program: PathBuf, source: io::Error },
    #[error("the issuer's answer cannot be understood: {}", shorten(.0))]
    Answer(String),
    #[error("there is no usable identity {}", shorten(.whose))]
    Identity { whose: String, source: Box<avouch_identity::IdentityError> },
    #[error("{} is no dump of avouch: {}", shown(.path), shorten(.why))]
    Dump { path: PathBuf, why: String },
    #[error("nobody could be asked: {}", listed(.silences, "; "))]
    NobodyAnswers { silences: Vec<String> },
    #[error("no methods are known to judge the policy by")]
    NoApi,
    #[error("there is no proto below {}", shown(.0))]
    NoProtos(PathBuf),
    #[error("{0}")]
    Api(String),
    #[error("nobody who answers is {}{}", shorten(.service), names(.known))]
    NoService { service: String, known: Vec<String> },
    #[error("nobody who answers serves {}", shorten(.method))]
    NobodyServes { method: String },
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
    #[error("{0}")]
    NotOnRecord(Box<crate::explain::Missing>),
    #[error("this program cannot start")]
    Runtime(#[source] io::Error),
}

/// A path as it is shown: whatever its name, on one line.
pub(crate) fn shown(path: &Path) -> String {
    shorten(&path.display().to_string())
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ")
}

/// As many of a list of what others say are shown.
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
    /// From a status, with the help that fits what was asked.
    pub(crate) fn refused(status: &tonic::Status, help: Option<String>) -> Self {
        let reason = status
            .get_details_error_info()
            .filter(|info| info.domain == avouch_spiffe::ERROR_DOMAIN)
            .and_then(|info| info.reason.parse().ok());
        let decision = status.get_details_request_info().map(|info| info.request_id);
        let decision = decision.filter(|id| id.parse::<What>().is_ok());
        Self::Refused { code: status.code(), reason, message: status.message().to_owned(), decision, help }
    }

    /// From a failure to have an identity to ask with: `in DIR`, `of SPIFFE-ID`.
    pub(crate) fn identity(whose: String, source: avouch_identity::IdentityError) -> Self {
        Self::Identity { whose, source: Box::new(source) }
    }

    /// Whether it is over as soon as an issuer has started.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NoSocket { .. } => true,
            Self::Unreachable { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    /// The reader of a pipe went away, which is no failure of ours.
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
            Self::Refused { reason: Some(reason), .. } => Some(Box::new(reason)),
            Self::NoSocket { .. } | Self::Unreachable { .. } => Some(Box::new("ISSUER_NOT_RUNNING")),
            _ => None,
        }
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = match self {
            Self::NoSocket { .. } => {
                "start an issuer with `avouch-issuer --config issuer.toml`, or name the socket \
                of a running one with --socket PATH or AVOUCH_ADMIN_SOCKET"
                    .to_owned()
            }
            Self::ManySockets { .. } => "choose one with --socket PATH or AVOUCH_ADMIN_SOCKET".to_owned(),
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run this as the user the issuer runs as, or as root".to_owned()
            }
            Self::Unreachable { socket, .. } => format!(
                "start the issuer with `avouch-issuer --config issuer.toml`; if it runs, its log names its socket \
                 (tried {})",
                shown(socket)
            ),
            Self::Refused { help: Some(help), .. } => help.clone(),
            Self::Refused { reason: Some(Reason::NoPeerIdentity), .. } => {
                "run this as the user the issuer runs as, or as root".to_owned()
            }
            Self::Refused { reason: Some(reason), .. } if reason.retryable() => {
                "try again; the issuer's log says what is in the way, and so does `avouch check`".to_owned()
            }
            Self::Refused { decision: Some(id), .. } => format!("the issuer's record: `avouch explain {id}`"),
            Self::RegisteredOtherwise { id, .. } => {
                format!(
                    "look at it with `avouch entry show {id}`; to change it, remove it first with `avouch entry rm {id}`"
                )
            }
            Self::NotOnRecord(missing) => missing.help(),
            Self::Dump { .. } => "make one with `avouch dump FILE`, on the issuer's machine".to_owned(),
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
