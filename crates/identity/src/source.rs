//! Sources: where SVIDs and bundles come from, and what keeps them fresh.

mod enroll;
mod files;
mod issuer;
mod key;
mod pem;
mod problem;
mod recover;
mod schedule;
mod state;
mod trust_stream;
mod vouching;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_files::{OpenToOthers, PrivateDirError};
use avouch_spiffe::clock::{self, SharedClock};
use avouch_spiffe::{HostPortError, JoinToken, Reason, SpiffeId, TrustDomain};
use avouch_text::with_causes;

pub use self::problem::SourceProblem;
pub use self::recover::{RECOVERY_BINDING, recovery_message};
use crate::config::IdentityConfig;
use crate::issuer_clock::{ClockDifference, IssuerClock};
use crate::snapshot::Identity;
use crate::supervise;
use crate::verify::Rejection;

/// A difference of clocks worth a warning.
const SKEW: Duration = Duration::from_secs(10);

/// The identity of the certificate in `path`, if there is one: what is not there or not readable is for the start to say.
pub(crate) fn certificate_id(path: &std::path::Path) -> Option<SpiffeId> {
    let chain = pem::certificates(path, &avouch_files::read(path, avouch_files::SECRET_LIMIT).ok()?).ok()?;
    avouch_spiffe::x509::Leaf::parse(chain.first()?).ok().map(|leaf| leaf.spiffe_id().clone())
}

/// Why an identity could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file could not be read.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} does not hold {expected}: {detail}")]
    Content {
        /// The file.
        path: std::path::PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Others can reach the key.
    #[error(
        "the key in {path} can be read or written by others (mode {mode:04o}). `chmod {wanted:04o} {path}` shuts it, but does \
         not take back what was read: use a new key",
        mode = open.mode, wanted = open.wanted
    )]
    KeyOpen {
        /// The file.
        path: std::path::PathBuf,
        /// Its mode, and what it should be.
        open: OpenToOthers,
    },
    /// Certificate and key of the files do not make an SVID.
    #[error("{certificate} and the key in {key} make no usable SVID")]
    Files {
        /// The certificates' file.
        certificate: std::path::PathBuf,
        /// The key's file.
        key: std::path::PathBuf,
        /// What is wrong.
        source: crate::svid::SvidLoadError,
    },
    /// The certificate does not hold now.
    #[error("the certificate in {certificate} cannot be used now: {rejection}")]
    OutsideDates {
        /// The file.
        certificate: std::path::PathBuf,
        /// Why.
        rejection: Rejection,
    },
    /// Peers would refuse the certificate: the own bundle does not vouch for it.
    #[error("the bundle in {bundle} does not vouch for the certificate in {certificate}: {rejection}")]
    NotVouchedFor {
        /// The certificate's file.
        certificate: std::path::PathBuf,
        /// The bundle's file.
        bundle: std::path::PathBuf,
        /// As what peers would refuse it.
        rejection: Rejection,
    },
    /// A new bundle does not vouch for the SVID in use, and there is none for which it does.
    #[error("the bundle in {bundle} does not vouch for the SVID in use (serial {serial}): {rejection}")]
    DoesNotVouch {
        /// The file.
        bundle: std::path::PathBuf,
        /// Of the SVID.
        serial: String,
        /// As what peers would refuse it.
        rejection: Rejection,
    },
    /// The own trust domain is configured as one of the others.
    #[error("identity.federated names the own trust domain {0}: its roots are those of identity.bundle")]
    FederatedOwn(TrustDomain),
    /// Two bundles are configured for one trust domain.
    #[error("identity.federated names {0} twice: a trust domain has one bundle")]
    FederatedTwice(TrustDomain),
    /// The state directory, or a file in it, cannot be used.
    #[error(transparent)]
    State(#[from] PrivateDirError),
    /// Certificate and key do not make an SVID.
    #[error("the certificate and key are no usable SVID")]
    Svid(#[from] crate::svid::SvidLoadError),
    /// There is no identity yet, and no join token to get one with.
    #[error(
        "there is no identity in {state} and no join token to get one with; create a token with `avouch token create SPIFFE-ID` and put it into the join_token_file"
    )]
    NoToken {
        /// The state directory, or that there is none.
        state: String,
    },
    /// The join token cannot be read.
    #[error("{path} holds no join token: {detail}")]
    Token {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The issuer refused, or there was no way to ask it.
    #[error("could not {action} at the issuer: {}", message(status))]
    Refused {
        /// What was asked.
        action: &'static str,
        /// Its answer.
        status: Box<tonic::Status>,
    },
    /// The issuer answered with something that is no usable identity.
    #[error("the issuer's answer is unusable: {0}")]
    Answer(String),
    /// The issuer's address is not `host:port`, or one that nobody could connect to.
    #[error("`{address}` is not an address of an issuer")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        source: HostPortError,
    },
    /// Key generation or signing failed.
    #[error("cryptography failed: {0}")]
    Crypto(String),
}

/// The issuer names its reason and the command that shows its record by itself, and so does a failure to connect.
fn message(status: &tonic::Status) -> String {
    match crate::status::reason(status) {
        Some(reason) if !status.message().starts_with(reason.as_str()) => {
            format!("{reason}: {}", status.message())
        }
        Some(_) => status.message().to_owned(),
        None => format!("{:?}: {}; `avouch check` says how the issuer is", status.code(), status.message()),
    }
}

impl IdentityError {
    /// Whether trying again, unchanged, can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { action, status } => match crate::status::reason(status) {
                // Only a renewal presents a certificate of ours; else it is the issuer's that is outside its dates,
                // until it renews itself or somebody sets a clock.
                Some(Reason::CertExpired | Reason::CertNotYetValid) => *action != "renew",
                Some(reason) => reason.retryable(),
                None => matches!(
                    status.code(),
                    tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled
                ),
            },
            // The disk may have room again.
            Self::State(PrivateDirError::Io { action: "write", .. }) => true,
            _ => false,
        }
    }
}

/// Something that happened to an identity.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IdentityEvent {
    /// An SVID came into use.
    Issued {
        /// How: `enroll`, `renew`, `recover`, `stored` or `files`.
        how: &'static str,
        /// Whose.
        spiffe_id: SpiffeId,
        /// Which.
        serial: String,
        /// Until when.
        not_after: SystemTime,
    },
    /// A fresh SVID could not be had; the current one stays in use.
    Failed {
        /// What was tried: `renew` or `recover`; `source` where the task itself died and begins again.
        how: &'static str,
        /// Why it failed.
        error: String,
    },
    /// Something else stands in the way of an identity's files than before, or nothing any more.
    Files {
        /// What of the files is not in use, and why; none: all of it is.
        problems: Vec<SourceProblem>,
    },
    /// The stream of trust bundles from the issuer came up or broke off; the bundle in use stays.
    TrustStream {
        /// Whether it is up.
        up: bool,
    },
    /// The issuer said what its clock shows: with an SVID, or on the trust stream.
    Clock {
        /// How far this process's clock is from it.
        difference: ClockDifference,
    },
}

/// Receives what happens to an identity. Called on the source's task: must not block.
pub trait IdentityObserver: Send + Sync + fmt::Debug {
    /// Something happened.
    fn event(&self, event: &IdentityEvent);
}

/// What the sources need beside their configuration.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) clock: SharedClock,
    pub(crate) issuer_clock: IssuerClock,
    pub(crate) observer: Option<Arc<dyn IdentityObserver>>,
    pub(crate) outgoing: Option<fn(&mut http::HeaderMap)>,
    /// The join token of the first contact, where it is in no file.
    pub(crate) token: Option<Arc<JoinToken>>,
    /// How long to wait for a first SVID; `None`: for ever.
    pub(crate) patience: Option<Duration>,
}

impl Surroundings {
    /// A request to the issuer, with the headers the process adds to its calls.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(outgoing) = self.outgoing {
            outgoing(request.metadata_mut().as_mut());
        }
        request
    }

    pub(crate) fn tell(&self, event: &IdentityEvent) {
        match event {
            IdentityEvent::Issued { how, spiffe_id, serial, .. } => {
                tracing::info!(how, %spiffe_id, serial, "SVID in use");
            }
            IdentityEvent::Failed { how, error } => {
                tracing::warn!(how, error, "no fresh SVID; the current one stays in use");
            }
            // Each has been said where it was found.
            IdentityEvent::Files { problems } => tracing::debug!(problems = problems.len(), "identity files"),
            // Breaks off with every connection that retires.
            IdentityEvent::TrustStream { up } => tracing::debug!(up, "trust stream"),
            IdentityEvent::Clock { difference } if difference.size() >= SKEW => {
                tracing::warn!(
                    ahead_millis = difference.ahead_millis,
                    "this process's clock is {difference}; certificates will look expired or not yet valid"
                );
            }
            IdentityEvent::Clock { difference } => {
                tracing::debug!(ahead_millis = difference.ahead_millis, "issuer's clock");
            }
        }
        let Some(observer) = &self.observer else { return };
        // An observer is somebody else's code; it must not take the identity down with it.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| observer.event(event)));
        if told.is_err() {
            tracing::error!(?observer, "an observer of the identity panicked");
        }
    }

    /// Keeps a source's task running.
    pub(crate) fn keep_running<F>(
        &self,
        begin: impl Fn() -> F + Send + 'static,
    ) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let surroundings = self.clone();
        supervise::keep_running("the source of this identity", begin, move |how| {
            let error = format!("the task that keeps this identity fresh died: {how}");
            surroundings.tell(&IdentityEvent::Failed { how: "source", error });
        })
    }

    /// Measures the clock against the issuer's, if it said what its own shows.
    pub(crate) fn issuer_time(&self, issuer: Option<SystemTime>) {
        let Some(issuer) = issuer else { return };
        let difference = self.issuer_clock.measure(self.clock.now(), issuer);
        self.tell(&IdentityEvent::Clock { difference });
    }

    pub(crate) fn issued(&self, how: &'static str, svid: &crate::svid::Svid) {
        self.tell(&IdentityEvent::Issued {
            how,
            spiffe_id: svid.spiffe_id().clone(),
            serial: svid.leaf().serial().to_owned(),
            not_after: svid.not_after(),
        });
    }

    pub(crate) fn failed(&self, how: &'static str, error: &IdentityError) {
        self.tell(&IdentityEvent::Failed { how, error: with_causes(error).to_string() });
    }
}

/// Starts the source of an identity.
#[derive(Debug)]
pub struct IdentityStarter {
    config: IdentityConfig,
    surroundings: Surroundings,
}

impl IdentityStarter {
    /// Tells `observer` what happens.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn IdentityObserver>) -> Self {
        self.surroundings.observer = Some(observer);
        self
    }

    /// Adds headers to every request to the issuer, as a trace's: this crate knows no tracing of its own.
    #[must_use]
    pub fn outgoing(mut self, add: fn(&mut http::HeaderMap)) -> Self {
        self.surroundings.outgoing = Some(add);
        self
    }

    /// Judges certificates by `clock`.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.surroundings.clock = clock;
        self
    }

    /// Enrolls with this join token instead of one in a file: for whoever just had it made and lives as long as the SVID
    /// in memory.
    #[must_use]
    pub fn join_token(mut self, token: JoinToken) -> Self {
        self.surroundings.token = Some(Arc::new(token));
        self
    }

    /// Gives up waiting for the first SVID after `patience`, with the error of the last attempt, which may take as long
    /// as its own timeout. Without, [`IdentityStarter::start`] waits for an issuer for ever.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.surroundings.patience = Some(patience);
        self
    }

    /// Waits for the first SVID; it is kept fresh from then on. While the issuer cannot be reached this waits, unless
    /// [`IdentityStarter::patience`] has an end.
    ///
    /// # Errors
    /// When there can be no SVID without somebody's help: no or a refused join token, files that make no
    /// usable SVID or cannot be read in time; or when
    /// patience is over.
    pub async fn start(self) -> Result<Identity, IdentityError> {
        match self.config {
            IdentityConfig::Issuer(config) => issuer::start(config, self.surroundings).await,
            IdentityConfig::Files(config) => files::start(config, self.surroundings).await,
        }
    }
}

impl Identity {
    /// An identity from the configured source, kept fresh in the background.
    ///
    /// # Errors
    /// As [`IdentityStarter::start`].
    pub async fn start(config: IdentityConfig) -> Result<Self, IdentityError> {
        Self::starter(config).start().await
    }

    /// As [`Identity::start`], with an observer or a clock.
    pub fn starter(config: IdentityConfig) -> IdentityStarter {
        IdentityStarter {
            config,
            surroundings: Surroundings {
                clock: clock::system(),
                issuer_clock: IssuerClock::default(),
                observer: None,
                outgoing: None,
                token: None,
                patience: None,
            },
        }
    }
}
