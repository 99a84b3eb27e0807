//! [`App`]: a process with everything a service needs, ready to serve.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use avouch_authz::{Methods, PolicyHandle};
use avouch_identity::{ChannelBuilder, Identity, IdentityFilter, Server};
use avouch_records::{Recorder, Source};
use avouch_telemetry::{Metrics, Telemetry, Tracing};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::boot::BootError;
use crate::config::Config;
use crate::health::{Health, HealthPort};
use crate::observe::Observer;
use crate::phase::Life;
use crate::serve::{self, ServeError};
use crate::signals::Stop;
use crate::status::{Facts, Listening};
use crate::upstream::{self, TracedChannel};

/// What an [`App`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: &'static str,
    pub(crate) config: Config,
    pub(crate) methods: Methods,
    pub(crate) policy: PolicyHandle,
    pub(crate) telemetry: Telemetry,
    pub(crate) stop: Stop,
    pub(crate) life: Life,
    pub(crate) health: Health,
    pub(crate) health_port: HealthPort,
    pub(crate) socket: Option<std::net::TcpListener>,
    pub(crate) observer: Observer,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) started: SystemTime,
    pub(crate) listening: Arc<OnceLock<Listening>>,
    pub(crate) identity: Identity,
}

/// The shell of a service: its configuration, identity, policy, telemetry and health port.
#[derive(Debug)]
pub struct App {
    pub(crate) parts: Parts,
    pub(crate) tasks: TaskTracker,
    pub(crate) descriptors: Mutex<Vec<&'static [u8]>>,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, tasks: TaskTracker::new(), descriptors: Mutex::default() }
    }

    /// The service's own configuration section, `[name]`; an absent one counts as empty.
    ///
    /// # Errors
    /// When it cannot be read as a `T`, unknown keys included if `T` denies them.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, BootError> {
        self.parts.config.settings()
    }

    /// The process's configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// A channel to the upstream described in `[upstreams.NAME]`.
    ///
    /// # Errors
    /// When there is no such section.
    pub fn channel(&self, name: &str) -> Result<TracedChannel, BootError> {
        self.channel_with(name, |builder| builder)
    }

    /// As [`App::channel`], with settings of the caller's, for example no default deadline for an endless stream.
    ///
    /// # Errors
    /// As [`App::channel`].
    pub fn channel_with(
        &self,
        name: &str,
        configure: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
    ) -> Result<TracedChannel, BootError> {
        let upstream = self.parts.config.upstream(name)?;
        let methods = self.parts.methods.iter().map(|method| method.path);
        upstream::open(upstream, &self.parts.identity, self.tracing(), self.metrics(), methods, configure)
    }

    /// This process's identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.parts.identity
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &PolicyHandle {
        &self.parts.policy
    }

    /// The process's metrics, to register a service's own series with.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.parts.telemetry.metrics()
    }

    /// What the process remembers of connections and calls; for a service that refuses calls by itself.
    #[must_use]
    pub fn records(&self) -> &Recorder {
        self.parts.observer.recorder()
    }

    /// What the process says of itself to those who ask over `avouch.observe.v1`: at each moment, what is known then.
    #[must_use]
    pub fn status(&self) -> Arc<dyn Source> {
        Arc::new(Facts::of(self))
    }

    /// Begins traces for work that no call began.
    #[must_use]
    pub fn tracing(&self) -> &Tracing {
        self.parts.telemetry.tracing()
    }

    /// Where others reach this process, `host:port`, if the configuration says so.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.parts.config.service.address.as_deref()
    }

    /// Where the plain health port listens.
    #[must_use]
    pub fn health_address(&self) -> std::net::SocketAddr {
        self.parts.health_port.address
    }

    /// Cancelled when the process is asked to stop; cancel it to stop the process.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.parts.stop.drain.clone()
    }

    /// Runs background work that the drain waits for; it should end soon after [`App::stopping`] is cancelled.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn(work)
    }

    /// Lets `grpc.health.v1` answer for `S` by name, beside the process as a whole. Before serving.
    pub fn announce<S: NamedService>(&self) {
        self.parts.health.name(S::NAME);
    }

    /// Lets server reflection (for holders of the `debug` role) tell these descriptors: an encoded
    /// `FileDescriptorSet`, as `avouch-build` writes it.
    pub fn reflect(&self, descriptors: &'static [u8]) {
        self.descriptors.lock().unwrap_or_else(PoisonError::into_inner).push(descriptors);
    }

    /// A second listener's server, for the peers that `filter` admits: with this process's identity, the limits of
    /// `[service.limits]`, and its handshakes counted with the others.
    ///
    /// It knows nothing of the policy: what it serves has to ask [`App::policy`] itself.
    #[must_use]
    pub fn server_for(&self, filter: IdentityFilter) -> Server {
        Server::new(self.identity().clone(), filter)
            .options(self.parts.config.service.options.clone())
            .observer(Arc::new(self.parts.observer.clone()))
    }

    /// Serves `routes` over mutual TLS, behind the policy, until the process is asked to stop; then drains within
    /// `[service] drain_timeout`.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve(self, routes: Routes) -> Result<(), ServeError> {
        self.serve_with(routes, |server| server).await
    }

    /// As [`App::serve`], with settings of the caller's for the listener.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve_with(
        self,
        routes: Routes,
        configure: impl FnOnce(Server) -> Server,
    ) -> Result<(), ServeError> {
        serve::serve(self, routes, configure).await
    }

    /// Ends a process that serves nothing: waits for [`App::spawn`]ed work within the drain time, delivers telemetry.
    pub async fn finish(self) {
        self.parts.stop.drain.cancel();
        serve::finish(&self, tokio::time::Instant::now() + self.parts.config.service.drain_timeout).await;
    }
}
