//! The plain health port: `/livez`, `/readyz`, `/metrics` over HTTP/1.1 and `grpc.health.v1` over h2c, on one port.
//!
//! The port is for orchestrators and scrapers that have no certificate; it listens on loopback unless configured
//! otherwise. It reports liveness, readiness and metrics; it names no identity, takes no input and changes nothing.
//! Liveness depends on nothing but the port's own answer.
//!
//! Anybody who reaches the port may send requests, so limits of its own bound their cost: `limits`.

mod activity;
mod answers;
mod body;
mod context;
mod limits;
mod port;

use std::net::SocketAddr;
use std::sync::Arc;

use avouch_telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::lifecycle::Lifecycle;
use port::Port;

/// The health service, for both ports.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    names: std::sync::Arc<std::sync::Mutex<Vec<&'static str>>>,
}

impl Health {
    /// A health service that reports NOT_SERVING until a status is set.
    pub(crate) async fn new() -> Self {
        let reporter = HealthReporter::new();
        reporter.set_service_status("", ServingStatus::NotServing).await;
        Self { reporter, names: std::sync::Arc::default() }
    }

    /// The gRPC service.
    pub(crate) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Adds a service, by its full name, to those whose status is reported.
    pub(crate) fn name(&self, service: &'static str) {
        self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(service);
    }

    /// Sets the status of the process and of all its named services.
    pub(crate) async fn set(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        let names = self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for name in names.into_iter().chain([""]) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// A running health port. Ends when dropped.
pub(crate) struct HealthPort {
    pub(crate) address: SocketAddr,
    port: Arc<Port>,
    tasks: [JoinHandle<()>; 2],
}

impl std::fmt::Debug for HealthPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HealthPort").field("address", &self.address).finish_non_exhaustive()
    }
}

impl HealthPort {
    /// Stops accepting, ends streams with UNAVAILABLE, and lets answers in progress finish, for half a second at most.
    pub(crate) async fn close(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.port.shared.closing.cancel();
        self.port.tasks.close();
        self.port.tasks.wait().await;
    }
}

impl Drop for HealthPort {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.port.shared.closing.cancel();
    }
}

/// Binds the port and answers on it.
pub(crate) async fn open(
    listen: SocketAddr,
    lifecycle: Lifecycle,
    metrics: Metrics,
    health: Health,
) -> std::io::Result<HealthPort> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let port = Arc::new(Port::new(lifecycle.clone(), metrics, health.server()));
    let serve = tokio::spawn(port.clone().serve(listener));
    let report = tokio::spawn(lifecycle.on_change(move |ready| {
        let health = health.clone();
        async move { health.set(ready).await }
    }));
    Ok(HealthPort { address, port, tasks: [serve, report] })
}
