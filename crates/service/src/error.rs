//! Why a process could not start, and what to do about it.

use std::borrow::Cow;
use std::error::Error;

use avouch_authz::{ContractError, PolicyError};
use avouch_identity::{ChannelError, IdentityError};
use avouch_spiffe::SpiffeIdError;
use avouch_telemetry::TelemetryError;

use crate::config::{ConfigError, ConfigFault};
use crate::socket_activation::ActivationError;

/// Any error, as a binary passes it up.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The configuration is not good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The contracts do not fit together.
    #[error("the contracts of this service do not fit together")]
    Contract(#[from] ContractError),
    /// The policy is not good.
    #[error("the policy cannot be used")]
    Policy(#[from] PolicyError),
    /// Telemetry could not be set up.
    #[error("telemetry could not be set up")]
    Telemetry(#[from] TelemetryError),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
    /// The health port cannot be bound.
    #[error("the health port {address} cannot be bound")]
    HealthPort {
        /// The address of the health port.
        address: std::net::SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The socket that a service manager passed cannot be served.
    #[error("the service manager passed what cannot be served")]
    Activation(#[from] ActivationError),
    /// The recorder's thread cannot be started.
    #[error("what happens here cannot be recorded")]
    Records(#[source] std::io::Error),
    /// The identity cannot be obtained.
    #[error("this process could not get its identity")]
    Identity(#[from] IdentityError),
    /// The service's own settings cannot be used.
    #[error("[{section}] cannot be used")]
    Settings {
        /// The section of the service.
        section: &'static str,
        /// What is wrong with the settings.
        source: BoxError,
    },
    /// An upstream's channel cannot be made.
    #[error("the channel cannot be made")]
    Upstream(#[source] ChannelError),
    /// An upstream's path is not a valid SPIFFE ID in the own trust domain.
    #[error("the upstream's ID cannot be made")]
    UpstreamId(#[source] SpiffeIdError),
    /// The process was asked to stop before it was up.
    #[error("stopped before it was up")]
    Stopped,
}

impl From<ConfigFault> for BootError {
    fn from(fault: ConfigFault) -> Self {
        Self::Config(fault.into())
    }
}

impl BootError {
    /// The service's own settings, in its section or its flags, cannot be used. Ends with exit code 64, as every
    /// configuration that cannot be used.
    pub fn settings(section: &'static str, why: impl Into<BoxError>) -> Self {
        Self::Settings { section, source: why.into() }
    }

    /// Whether whoever started the process can fix it by changing flags or files.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            // The next start may find it finished.
            Self::Policy(PolicyError::Unsettled { .. }) => false,
            Self::Config(_)
            | Self::Contract(_)
            | Self::Policy(_)
            | Self::Activation(_)
            | Self::Settings { .. }
            | Self::Upstream(_)
            | Self::UpstreamId(_) => true,
            // All else that can be wrong with telemetry's settings is a warning.
            Self::Telemetry(error) => matches!(error, TelemetryError::SamplingRatio(_)),
            Self::Identity(error) => {
                matches!(error, IdentityError::FederatedOwn(_) | IdentityError::FederatedTwice(_))
            }
            _ => false,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Config(ConfigError { fault: ConfigFault::MissingSection(section) })
                if section.starts_with("upstreams.") =>
            {
                Some("an upstream needs url = \"https://host:port\" and id = \"spiffe://...\"")
            }
            Self::Config(_) | Self::Settings { .. } => Some(
                "configuration is read from each --config FILE in turn, then AVOUCH_SECTION__KEY, then --set SECTION.KEY=VALUE",
            ),
            Self::Policy(error) => {
                let named = "the policy file is named by [authz] policy";
                return Some(match error.file() {
                    Some(file) => format!("`avouch policy check {file}` shows each place; {named}").into(),
                    None => named.into(),
                });
            }
            Self::Activation(_) => {
                Some("one socket unit with one ListenStream= that is an address, and Accept=no")
            }
            Self::HealthPort { .. } => Some("[health] listen says where; port 0 lets the system choose"),
            _ => None,
        };
        hint.map(Cow::Borrowed)
    }
}
