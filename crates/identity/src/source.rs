//! Sources of identities: where SVIDs and bundles come from, and how they are kept fresh.

#[cfg(test)]
mod comeback_tests;
mod context;
mod enroll;
mod error;
mod event;
mod files;
mod issuer;
mod issuer_connection;
mod key;
mod pem;
pub(crate) mod problem;
mod recover;
mod recovery_proof;
mod state;
mod trust_holder;
mod trust_stream;
mod trust_update;
mod vouching;

use std::sync::Arc;
use std::time::Duration;

use avouch_spiffe::JoinToken;
use avouch_time::clock::{self, SharedClock};

use self::context::SourceContext;
pub use self::error::IdentityError;
pub use self::event::{IdentityEvent, IdentityObserver};
pub use self::problem::SourceProblem;
pub use self::recovery_proof::{RECOVERY_BINDING, recovery_message};
pub use self::trust_update::{HeldTrust, TrustUpdateError};
use crate::clock_skew::IssuerClock;
use crate::config::IdentityConfig;
use crate::identity::Identity;

/// Starts the source of an identity.
#[derive(Debug)]
pub struct IdentityStarter {
    config: IdentityConfig,
    context: SourceContext,
}

impl IdentityStarter {
    /// Sends the identity's events to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn IdentityObserver>) -> Self {
        self.context.observer = Some(observer);
        self
    }

    /// Adds headers to every request to the issuer, as a trace's: this crate knows no tracing of its own.
    #[must_use]
    pub fn outgoing(mut self, add: fn(&mut http::HeaderMap)) -> Self {
        self.context.outgoing = Some(add);
        self
    }

    /// Judges certificates by `clock`.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.context.clock = clock;
        self
    }

    /// Enrolls with this join token instead of one in a file: for a process that has just had it made, and lives no
    /// longer than its SVID in memory.
    #[must_use]
    pub fn join_token(mut self, token: JoinToken) -> Self {
        self.context.token = Some(Arc::new(token));
        self
    }

    /// Gives up waiting for the first SVID after `start_timeout`, with the error of the last attempt, which may take as
    /// long as its own timeout. Without, [`IdentityStarter::start`] waits for an issuer for ever.
    #[must_use]
    pub fn start_timeout(mut self, start_timeout: Duration) -> Self {
        self.context.start_timeout = Some(start_timeout);
        self
    }

    /// Waits for the first SVID; it is kept fresh from then on. While the issuer cannot be reached this waits, unless
    /// [`IdentityStarter::start_timeout`] has an end.
    ///
    /// # Errors
    /// When waiting cannot help: no join token or a refused one, files that are not a usable SVID or cannot be read in
    /// time; or when the time limit is over.
    pub async fn start(self) -> Result<Identity, IdentityError> {
        match self.config {
            IdentityConfig::Issuer(config) => issuer::start(config, self.context).await,
            IdentityConfig::Files(config) => files::start(config, self.context).await,
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

    /// A builder for what [`Identity::start`] does, with an observer or a clock.
    pub fn starter(config: IdentityConfig) -> IdentityStarter {
        IdentityStarter {
            config,
            context: SourceContext {
                clock: clock::system(),
                issuer_clock: IssuerClock::default(),
                observer: None,
                outgoing: None,
                token: None,
                start_timeout: None,
            },
        }
    }
}
