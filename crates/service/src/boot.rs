//! From launch options to an [`App`].
//!
//! [`Boot`] is a process that has its configuration, its telemetry and its health port, and waits for its identity.
//! Most services never see it; the issuer, which issues its own identity, does. The order of all steps, up to the end of
//! the process, stands in `run::start`.

use avouch_authz::{Methods, Policy, PolicyHandle};
use avouch_identity::{Identity, IdentityConfig};
use avouch_records::Recorder;
use avouch_spiffe::contract::Contract;
use avouch_telemetry::{Metrics, Telemetry};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::error::BootError;
use crate::health::{self, Health};
use crate::launch_options::{LaunchOptions, VERSION};
use crate::lifecycle::Lifecycle;
use crate::observe::Observer;
use crate::parts::AppParts;
use crate::{signals, socket_activation, status};

/// A process on its way to an identity.
#[derive(Debug)]
#[must_use]
pub struct Boot {
    parts: AppParts,
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
        launch: &LaunchOptions,
    ) -> Result<Self, BootError> {
        install_crypto_provider();
        Self::begin(name, check(name, contracts, launch)?, launch).await
    }

    /// As [`Boot::new`], with what has been checked.
    pub(crate) async fn begin(
        name: &'static str,
        checked: Checked,
        launch: &LaunchOptions,
    ) -> Result<Self, BootError> {
        let Checked { config, methods, policy } = checked;
        let clock = config.service.clock.clone();
        let socket = socket_activation::take(&launch.env)?;
        let telemetry = avouch_telemetry::init(name, VERSION, &config.telemetry)?;
        let stop = signals::listen().map_err(BootError::Signals)?;
        let lifecycle = Lifecycle::new(clock.clone());
        // Before the identity, which may take long: while SIGHUP is not handled, it ends the process.
        signals::reload_on_hangup(policy.clone(), lifecycle.clone(), stop.clone())
            .map_err(BootError::Signals)?;
        let health = Health::new().await;
        let address = config.health_listen;
        // Before the identity too, so that a probe can ask why the process is not ready.
        let health_port =
            health::open(address, lifecycle.clone(), telemetry.metrics().clone(), health.clone())
                .await
                .map_err(|source| BootError::HealthPort { address, source })?;
        let recorder = Recorder::builder(config.records.clone(), methods.clone())
            .clock(clock.clone())
            .trace(avouch_telemetry::current_trace_id)
            .start()
            .map_err(BootError::Records)?;
        let observer = Observer::new(telemetry.metrics().clone(), recorder, clock.clone());
        let state_dir = match &config.identity {
            Some(IdentityConfig::Issuer(issuer)) => issuer.state_dir.clone(),
            _ => None,
        };
        Ok(Self {
            parts: AppParts {
                name,
                config,
                methods,
                policy,
                telemetry,
                stop,
                lifecycle,
                health,
                health_port,
                socket,
                observer,
                state_dir,
                started: clock.now(),
            },
        })
    }

    /// The service's own configuration section, `[name]`; an absent one counts as empty.
    ///
    /// # Errors
    /// When it cannot be read as a `T`, unknown keys included if `T` denies them.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, BootError> {
        Ok(self.parts.config.settings()?)
    }

    /// The process's configuration.
    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// The process's telemetry.
    pub fn telemetry(&self) -> &Telemetry {
        &self.parts.telemetry
    }

    /// Cancelled when the process is asked to stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.parts.stop.clone()
    }

    /// Gets the identity that `[identity]` describes. Waits for the issuer as long as it takes, or until the process is
    /// asked to stop.
    ///
    /// # Errors
    /// See [`BootError`].
    pub async fn start(mut self) -> Result<App, BootError> {
        let config = self.parts.config.take_identity()?;
        let parts = &self.parts;
        let start = Identity::starter(config)
            .observer(std::sync::Arc::new(parts.observer.clone()))
            .clock(parts.config.service.clock.clone())
            .outgoing(avouch_telemetry::inject_current)
            .start();
        let parent = avouch_telemetry::context_from_env();
        let start = parts.telemetry.tracing().scope("boot", parent, start);
        let identity = tokio::select! {
            // A process that was asked to stop does not begin to serve, even if its identity came at the same moment.
            biased;
            () = parts.stop.cancelled() => return Err(BootError::Stopped),
            identity = start => identity?,
        };
        self.with_identity(identity)
    }

    /// Continues the start with an identity that the caller provides.
    ///
    /// # Errors
    /// See [`BootError`].
    pub fn with_identity(self, identity: Identity) -> Result<App, BootError> {
        let Self { parts } = self;
        // Set here, since `follow` runs later: a probe must not find a serving process without an SVID.
        parts.lifecycle.svid(identity.snapshot().svid.not_after());
        parts.lifecycle.problems(identity.source_problems().borrow().clone());
        let metrics = parts.telemetry.metrics().clone();
        show_trust(&parts, &identity, &metrics);
        tokio::spawn(parts.lifecycle.clone().follow(identity.clone(), metrics, parts.stop.clone()));
        if parts.policy.path().is_some() {
            let watch = parts.policy.clone().watch(parts.config.authz.watch_interval);
            let stop = parts.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(watch).await });
        }
        Ok(App::new(parts, identity))
    }
}

/// Adds the trust state in use to the process's metrics.
fn show_trust(parts: &AppParts, identity: &Identity, metrics: &Metrics) {
    let (identity, observer) = (identity.clone(), parts.observer.clone());
    let clock = parts.config.service.clock.clone();
    let read = move || status::trust_reading(&identity, &observer, clock.now());
    if let Err(error) = metrics.watch_trust(read) {
        // Registration fails only in a program that starts twice.
        tracing::debug!(%error, "the trust state is not among the metrics");
    }
}

/// Installs the process-wide crypto provider, the one that identities use.
pub(crate) fn install_crypto_provider() {
    // A second call finds the provider of the first, which is the same one.
    let _ = rustls::crypto::CryptoProvider::install_default((**avouch_identity::crypto_provider()).clone());
}

/// The results of the checks, before anything is started.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) config: Config,
    methods: Methods,
    policy: PolicyHandle,
}

/// Everything that can be checked without starting anything. The start runs the same checks first, so a configuration
/// that `--check-config` accepts also starts, and one that it refuses is refused at the start with the same message.
pub(crate) fn check(
    name: &'static str,
    contracts: &[&'static Contract],
    launch: &LaunchOptions,
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
