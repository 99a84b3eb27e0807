//! [`App`]: a process with everything a service needs, ready to serve.

mod serve;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use avouch_authz::PolicyHandle;
use avouch_identity::{ChannelBuilder, Identity, IdentityFilter, Server};
use avouch_records::{Recorder, Source};
use avouch_telemetry::{Metrics, Tracing};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::config::Config;
use crate::error::BootError;
use crate::parts::AppParts;
use crate::status::{Listening, ProcessStatus};
use crate::upstream::{self, TracedChannel};

pub use self::serve::ServeError;
pub(crate) use self::serve::TELEMETRY_FLUSH_TIMEOUT;

/// A running service: its configuration, identity, policy, telemetry and health port.
#[derive(Debug)]
pub struct App {
    pub(crate) parts: AppParts,
    pub(crate) identity: Identity,
    /// The listener, once there is one.
    pub(crate) listening: Arc<OnceLock<Listening>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) descriptors: Mutex<Vec<&'static [u8]>>,
}

impl App {
    pub(crate) fn new(parts: AppParts, identity: Identity) -> Self {
        Self {
            parts,
            identity,
            listening: Arc::default(),
            tasks: TaskTracker::new(),
            descriptors: Mutex::default(),
        }
    }

    /// The service's own configuration section, `[name]`; an absent one counts as empty.
    ///
    /// # Errors
    /// When it cannot be read as a `T`, unknown keys included if `T` denies them.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, BootError> {
        Ok(self.parts.config.settings()?)
    }

    /// The process's configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// A channel to the upstream described in `[upstreams.NAME]`. Its default deadline applies to unary calls; RPCs
    /// that stream, by the contracts that the process was started with, get none.
    ///
    /// # Errors
    /// When there is no such section.
    pub fn channel(&self, name: &str) -> Result<TracedChannel, BootError> {
        self.channel_with(name, |builder| builder)
    }

    /// As [`App::channel`], with settings of the caller's, for example more time to connect.
    ///
    /// # Errors
    /// As [`App::channel`].
    pub fn channel_with(
        &self,
        name: &str,
        configure: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
    ) -> Result<TracedChannel, BootError> {
        let upstream = self.parts.config.upstream(name)?;
        let methods = &self.parts.methods;
        upstream::open(upstream, &self.identity, self.tracing(), self.metrics(), methods, configure)
    }

    /// This process's identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
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

    /// The recorder of connections and calls; for a service that denies calls by itself.
    #[must_use]
    pub fn records(&self) -> &Recorder {
        self.parts.observer.recorder()
    }

    /// The status of the process, as `avouch.observe.v1` reports it; each request reads the values of that moment.
    #[must_use]
    pub fn status(&self) -> Arc<dyn Source> {
        Arc::new(ProcessStatus::new(&self.parts, &self.identity, &self.listening))
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

    /// The address of the plain health port.
    #[must_use]
    pub fn health_address(&self) -> std::net::SocketAddr {
        self.parts.health_port.address
    }

    /// Cancelled when the process is asked to stop; cancel it to stop the process.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.parts.stop.clone()
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

    /// Lets server reflection (for holders of the `debug` role) serve these descriptors: an encoded
    /// `FileDescriptorSet`, as `avouch-build` writes it.
    pub fn reflect(&self, descriptors: &'static [u8]) {
        self.descriptors.lock().unwrap_or_else(PoisonError::into_inner).push(descriptors);
    }

    /// A second listener's server, for the peers that `filter` admits: with this process's identity, the limits of
    /// `[service.limits]`, and its handshakes counted with the others.
    ///
    /// It does not enforce the policy: what it serves has to ask [`App::policy`] itself.
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
        self.parts.stop.cancel();
        serve::finish(&self, tokio::time::Instant::now() + self.parts.config.service.drain_timeout).await;
    }
}
