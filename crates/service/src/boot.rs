//! From a start command to an [`App`], in the fixed order.
//!
//! [`Boot`] is a process that has its configuration, its telemetry and its health port, and waits for its identity.
//! Most services never see it; the issuer, which issues its own identity, does.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use avouch_authz::{ContractError, Methods, Policy, PolicyError, PolicyHandle};
use avouch_identity::{ChannelError, Identity, IdentityConfig, IdentityError};
use avouch_records::Recorder;
use avouch_spiffe::contract::Contract;
use avouch_telemetry::{Telemetry, TelemetryError};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::activation::{self, ActivationError};
use crate::app::{App, Parts};
use crate::config::{Config, ConfigError, ConfigFault};
use crate::health::{self, Health, HealthPort};
use crate::launch::{Launch, VERSION};
use crate::observe::Observer;
use crate::phase::Life;
use crate::run::BoxError;
use crate::signals::{self, Stop};

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
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The socket that a service manager passed cannot be served.
    #[error("the service manager passed what cannot be served")]
    Activation(#[from] ActivationError),
    /// There is no thread to record with.
    #[error("what happens here cannot be recorded")]
    Records(#[source] std::io::Error),
    /// There is no identity to be had.
    #[error("this process could not get its identity")]
    Identity(#[from] IdentityError),
    /// What the service itself was told cannot be used.
    #[error("[{section}] cannot be used")]
    Settings {
        /// Its section.
        section: &'static str,
        /// Why not.
        source: BoxError,
    },
    /// The configuration names no such upstream.
    #[error("there is no section [upstreams.{0}]")]
    NoUpstream(String),
    /// An upstream's channel cannot be made.
    #[error("the channel cannot be made")]
    Upstream(#[source] ChannelError),
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
    /// What the service itself was told, in its section or by its flags, cannot be used. Ends with exit code 64, as every
    /// configuration that cannot be used.
    pub fn settings(section: &'static str, why: impl Into<BoxError>) -> Self {
        Self::Settings { section, source: why.into() }
    }

    /// Whether whoever started the process can repair it by what they give it.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            // The next start may find it finished.
            Self::Policy(PolicyError::Unsettled { .. }) => false,
            Self::Config(_)
            | Self::Contract(_)
            | Self::Policy(_)
            | Self::Activation(_)
            | Self::Settings { .. }
            | Self::NoUpstream(_)
            | Self::Upstream(_) => true,
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
            Self::Config(_) | Self::Settings { .. } => Some(
                "configuration is read from --config FILE, then AVOUCH_SECTION__KEY, then --set SECTION.KEY=VALUE",
            ),
            Self::Policy(error) => {
                let named = "the policy file is named by [authz] policy";
                return Some(match error.file() {
                    Some(file) => format!("`avouch policy check {file}` shows each place; {named}").into(),
                    None => named.into(),
                });
            }
            Self::NoUpstream(_) => {
                Some("an upstream needs url = \"https://host:port\" and id = \"spiffe://...\"")
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

/// A process on its way to an identity.
#[derive(Debug)]
#[must_use]
pub struct Boot {
    name: &'static str,
    config: Config,
    methods: Methods,
    policy: PolicyHandle,
    telemetry: Telemetry,
    stop: Stop,
    life: Life,
    health: Health,
    health_port: HealthPort,
    socket: Option<std::net::TcpListener>,
    observer: Observer,
    state_dir: Option<PathBuf>,
    started: SystemTime,
}

impl Boot {
    /// Configuration, policy, telemetry, signals and the health port, from what the process was started with.
    ///
    /// `contracts` are those of the services it serves and calls. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`BootError`].
    pub async fn new(
        name: &'static str,
        contracts: &[&'static Contract],
        launch: &Launch,
    ) -> Result<Self, BootError> {
        Self::begin(name, check(name, contracts, launch)?, launch).await
    }

    /// As [`Boot::new`], with what has been checked.
    pub(crate) async fn begin(
        name: &'static str,
        checked: Checked,
        launch: &Launch,
    ) -> Result<Self, BootError> {
        // A second call finds the provider of the first, which is the same one.
        let _ =
            rustls::crypto::CryptoProvider::install_default((**avouch_identity::crypto_provider()).clone());
        let Checked { config, methods, policy } = checked;
        let socket = activation::take(&launch.env)?;
        let telemetry = avouch_telemetry::init(name, VERSION, &config.telemetry)?;
        let stop = Stop::default();
        signals::listen(stop.clone()).map_err(BootError::Signals)?;
        let life = Life::new(config.service.clock.clone());
        // From here on, not from the identity on: until it is handled, SIGHUP kills.
        signals::reload_on_hangup(policy.clone(), life.clone(), stop.drain.clone())
            .map_err(BootError::Signals)?;
        let health = Health::new().await;
        let address = config.health_listen;
        let health_port = health::open(address, life.clone(), telemetry.metrics().clone(), health.clone())
            .await
            .map_err(|source| BootError::HealthPort { address, source })?;
        let recorder = Recorder::builder(config.records.clone(), methods.clone())
            .clock(config.service.clock.clone())
            .trace(avouch_telemetry::current_trace_id)
            .start()
            .map_err(BootError::Records)?;
        let observer = Observer::new(telemetry.metrics().clone(), recorder, config.service.clock.clone());
        let state_dir = match &config.identity {
            Some(IdentityConfig::Issuer(issuer)) => issuer.state_dir.clone(),
            _ => None,
        };
        let started = config.service.clock.now();
        Ok(Self {
            name,
            config,
            methods,
            policy,
            telemetry,
            stop,
            life,
            health,
            health_port,
            socket,
            observer,
            state_dir,
            started,
        })
    }

    /// The service's own configuration section, `[name]`; an absent one counts as empty.
    ///
    /// # Errors
    /// When it cannot be read as a `T`, unknown keys included if `T` denies them.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, BootError> {
        self.config.settings()
    }

    /// The process's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The process's telemetry.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Cancelled when the process is asked to stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.drain.clone()
    }

    /// Gets the identity that `[identity]` describes. Waits for the issuer as long as it takes, or until the process is
    /// asked to stop.
    ///
    /// # Errors
    /// See [`BootError`].
    pub async fn start(mut self) -> Result<App, BootError> {
        let config = self.config.take_identity()?;
        let start = Identity::starter(config)
            .observer(std::sync::Arc::new(self.observer.clone()))
            .clock(self.config.service.clock.clone())
            .outgoing(avouch_telemetry::inject_current)
            .start();
        let parent = avouch_telemetry::context_from_env();
        let start = self.telemetry.tracing().scope("boot", parent, start);
        let identity = tokio::select! {
            biased;
            () = self.stop.drain.cancelled() => return Err(BootError::Stopped),
            identity = start => identity?,
        };
        self.with_identity(identity)
    }

    /// Goes on with an identity from elsewhere.
    ///
    /// # Errors
    /// See [`BootError`].
    pub fn with_identity(self, identity: Identity) -> Result<App, BootError> {
        let stop = self.stop.drain.clone();
        let metrics = self.telemetry.metrics().clone();
        // At once: a process that serves must not be found without an SVID.
        self.life.svid(identity.snapshot().svid.not_after());
        self.life.problems(identity.source_problems().borrow().clone());
        tokio::spawn(self.life.clone().follow(identity.clone(), metrics, stop.clone()));
        if self.policy.path().is_some() {
            let watch = self.policy.clone().watch(self.config.authz.watch_interval);
            tokio::spawn(async move { stop.run_until_cancelled(watch).await });
        }
        Ok(App::new(Parts {
            name: self.name,
            config: self.config,
            methods: self.methods,
            policy: self.policy,
            telemetry: self.telemetry,
            stop: self.stop,
            life: self.life,
            health: self.health,
            health_port: self.health_port,
            socket: self.socket,
            observer: self.observer,
            state_dir: self.state_dir,
            started: self.started,
            listening: Arc::default(),
            identity,
        }))
    }
}

/// What is known before anything is started.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) config: Config,
    methods: Methods,
    policy: PolicyHandle,
}

/// Everything that can be checked without starting anything. The start begins with it, so that what `--check-config`
/// takes starts, and what it refuses is refused then with the same words.
pub(crate) fn check(
    name: &'static str,
    contracts: &[&'static Contract],
    launch: &Launch,
) -> Result<Checked, BootError> {
    let config = Config::load(name, launch)?;
    let contracts: Vec<_> = contracts.iter().copied().chain([avouch_records::contract()]).collect();
    let methods = Methods::new(&contracts)?;
    let policy = match &config.authz.policy {
        Some(path) => PolicyHandle::load_by(config.service.clock.clone(), path, methods.clone())?,
        None => PolicyHandle::fixed(Policy::without_roles(&methods)),
    };
    Ok(Checked { config, methods, policy })
}
