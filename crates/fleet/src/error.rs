//! The errors of asking a fleet or reading a dump, each with help on what to do about it.

use avouch_authz::layer::DecisionId;
use avouch_spiffe::Reason;
use avouch_text::{LONGEST_TEXT, shorten, shorten_path, shorten_to};
use std::io;
use std::path::PathBuf;
use tonic_types::StatusExt;

/// A failure to ask the issuer or to read a dump. Paths, and what others say, are on one line and cut where they are
/// very long.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// No socket was named, and there is none in the usual places.
    #[error("no issuer of this user is running: there is no administration socket in {}", paths(.looked_in))]
    NoSocket {
        /// The directories that were searched.
        looked_in: Vec<PathBuf>,
    },
    /// No socket was named, and several issuers answer.
    #[error("several issuers are running: {}", paths(.found))]
    ManySockets {
        /// Their sockets.
        found: Vec<PathBuf>,
    },
    /// The socket cannot be connected to.
    #[error("no issuer answers on {}", shorten_path(.socket))]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The issuer did not do what it was asked for.
    #[error("{}", shorten_to(.message, LONGEST_TEXT))]
    Refused {
        /// The status code.
        code: tonic::Code,
        /// The reason, if the issuer gave one.
        reason: Option<Reason>,
        /// The issuer's words.
        message: String,
        /// Under which the issuer has it on record.
        decision: Option<DecisionId>,
        /// The help, where that depends on what was asked for.
        help: Option<String>,
    },
    /// The issuer's answer does not fit the protocol.
    #[error("the issuer's answer cannot be understood: {}", shorten(.0))]
    Answer(String),
    /// There is no identity to ask workloads with.
    #[error("there is no usable identity {}", shorten(.whose))]
    Identity {
        /// Its owner, or where it was looked for: `in DIR`, `of SPIFFE-ID`.
        whose: String,
        /// The problem with it.
        source: Box<avouch_identity::IdentityError>,
    },
    /// The file cannot be read.
    #[error("cannot read {}", shorten_path(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not a dump.
    #[error("{} is no dump of avouch: {}", shorten_path(.path), shorten(.why))]
    Dump {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        why: String,
    },
    /// The dump cannot be made.
    #[error("the dump cannot be made")]
    Pack(#[source] io::Error),
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shorten_path(path)).collect::<Vec<_>>().join(", ")
}

impl FleetError {
    /// The error for a status of the issuer, with the help that fits what it was asked for.
    #[must_use]
    pub fn refused(status: &tonic::Status, help: Option<String>) -> Self {
        let reason = status
            .get_details_error_info()
            .filter(|info| info.domain == avouch_spiffe::ERROR_DOMAIN)
            .and_then(|info| info.reason.parse().ok());
        // Parsed, since it becomes part of a command that people copy into a shell.
        let decision = status.get_details_request_info().and_then(|info| info.request_id.parse().ok());
        Self::Refused { code: status.code(), reason, message: status.message().to_owned(), decision, help }
    }

    pub(crate) fn identity(whose: String, source: avouch_identity::IdentityError) -> Self {
        Self::Identity { whose, source: Box::new(source) }
    }

    /// Whether the error may be over as soon as an issuer has started.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NoSocket { .. } => true,
            Self::Unreachable { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    /// The word that scripts match: the issuer's reason, or `ISSUER_NOT_RUNNING`.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused { reason: Some(reason), .. } => Some(reason.as_str()),
            Self::NoSocket { .. } | Self::Unreachable { .. } => Some("ISSUER_NOT_RUNNING"),
            _ => None,
        }
    }

    /// The help: what to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
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
                shorten_path(socket)
            ),
            Self::Refused { help: Some(help), .. } => help.clone(),
            Self::Refused { reason: Some(Reason::NoPeerIdentity), .. } => {
                "run this as the user the issuer runs as, or as root".to_owned()
            }
            Self::Refused { reason: Some(reason), .. } if reason.retryable() => {
                "try again; the issuer's log says what is in the way, and so does `avouch check`".to_owned()
            }
            Self::Refused { decision: Some(id), .. } => format!("the issuer's record: `avouch explain {id}`"),
            Self::Dump { .. } => "make one with `avouch dump FILE`, on the issuer's machine".to_owned(),
            _ => return None,
        })
    }
}
