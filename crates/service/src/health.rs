//! The plain health port: `/livez`, `/readyz`, `/metrics` over HTTP/1.1 and `grpc.health.v1` over h2c, on one port.
//!
//! For orchestrators and scrapers that have no certificate; on loopback unless configured otherwise. It tells whether
//! the process lives and is ready, and counts; it names no identity, takes no input and changes nothing. Liveness
//! depends on nothing but this very answer.

use std::net::SocketAddr;

use avouch_telemetry::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::phase::Life;

/// The health service, for both ports.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    names: std::sync::Arc<std::sync::Mutex<Vec<&'static str>>>,
}

impl Health {
    /// Not serving, until told otherwise.
    pub(crate) async fn new() -> Self {
        let reporter = HealthReporter::new();
        reporter.set_service_status("", ServingStatus::NotServing).await;
        Self { reporter, names: std::sync::Arc::default() }
    }

    /// The gRPC service.
    pub(crate) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Reports on a service by its full name too.
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
#[derive(Debug)]
pub(crate) struct HealthPort {
    pub(crate) address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for HealthPort {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Binds the port and answers on it.
pub(crate) async fn open(
    listen: SocketAddr,
    life: Life,
    metrics: Metrics,
    health: Health,
) -> std::io::Result<HealthPort> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let pages = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_page))
        .with_state((life.clone(), metrics));
    let router = Routes::new(health.server()).into_axum_router().merge(pages);
    let serve = tokio::spawn(async move {
        // Ends only with its task: single connections' errors are survived.
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the health port failed");
        }
    });
    let report = tokio::spawn(life.on_change(move |ready| {
        let health = health.clone();
        async move { health.set(ready).await }
    }));
    Ok(HealthPort { address, tasks: [serve, report] })
}

async fn ready(State((life, _)): State<(Life, Metrics)>) -> impl IntoResponse {
    match life.ready() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

async fn metrics_page(State((_, metrics)): State<(Life, Metrics)>) -> impl IntoResponse {
    match metrics.render() {
        Ok(page) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
        }
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be rendered");
            let text = "the metrics cannot be rendered\n".to_owned();
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], text)
        }
    }
}
