//! Serving, and the way out: accept, authenticate, trace, authorize, answer; then drain, bounded, and say what it
//! waited for.
//!
//! Layers from outside in: telemetry (so that refusals are seen), authorization, the service's routes. There is no
//! way to serve routes without them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use avouch_api::observe::v1::observe_server::ObserveServer;
use avouch_authz::layer::AuthzLayer;
use avouch_identity::listen::descriptors;
use avouch_identity::{ConnectionInfo, Drained, IdentityFilter, Server, ServerError};
use avouch_records::Observe;
use avouch_spiffe::PeerIdentity;
use avouch_telemetry::{OpenCall, ServerLayer};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::service::Routes;
use tower_layer::Layer;

use crate::address_file::Addresses;
use crate::app::App;
use crate::launch::{REVISION, VERSION};
use crate::manager;
use crate::phase::Phase;
use crate::status::Listening;

/// How long telemetry may take to deliver what it has, after everything else has ended.
const FLUSH: Duration = Duration::from_secs(2);

/// How much longer than the drain the listener may take before it is left behind.
const SLACK: Duration = Duration::from_millis(500);

/// Why a process could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener cannot be bound.
    #[error("{address} cannot be bound")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The socket that a service manager passed cannot be served.
    #[error("the socket that the service manager passed cannot be served")]
    Passed(#[source] std::io::Error),
    /// The address file cannot be written.
    #[error("the address file {path} cannot be written")]
    AddressFile {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The descriptors given for reflection are not good.
    #[error("the descriptors for server reflection cannot be used")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The listener failed.
    #[error("serving failed")]
    Server(#[from] ServerError),
}

pub(crate) async fn serve(
    mut app: App,
    routes: Routes,
    configure: impl FnOnce(Server) -> Server,
) -> Result<(), ServeError> {
    let (listener, address) = listen(app.parts.socket.take(), app.parts.config.service.listen).await?;
    let telemetry = server_layer(&app, address);
    let server = configure(server(&app));
    // It serves once: the place is empty.
    let _ = app.parts.listening.set(Listening::of(address, &server));
    let routes = routes.add_service(observe(&app));
    let service = telemetry.layer(authz_layer(&app).layer(complete(&app, routes)?.prepare()));
    advertise(&app, address);
    write_address_file(&app, address)?;
    say_started(&app, address);
    warn_of_few_descriptors(&app);
    app.parts.life.enter(Phase::Serving);
    manager::ready();

    let drain = app.parts.stop.drain.clone();
    let shutdown = {
        let (drain, life, telemetry) = (drain.clone(), app.parts.life.clone(), telemetry.clone());
        let timeout = app.parts.config.service.drain_timeout;
        async move {
            drain.cancelled().await;
            life.enter(Phase::Draining);
            manager::stopping();
            let waiting_for = calls(&telemetry.open_calls());
            tracing::info!(waiting_for, timeout_ms = timeout.as_millis(), "draining");
        }
    };
    let serving = server.serve(listener, service, shutdown);
    tokio::pin!(serving);
    // Up to the signal the listener may run for ever; from then on it has a deadline.
    let outcome = tokio::select! {
        outcome = &mut serving => Some(outcome),
        () = drain.cancelled() => None,
    };
    // When the listener failed, what goes on beside it must learn that it is over.
    drain.cancel();
    let deadline = Instant::now() + app.parts.config.service.drain_timeout;
    let outcome = match outcome {
        Some(outcome) => Some(outcome),
        None => tokio::select! {
            outcome = tokio::time::timeout_at(deadline + SLACK, &mut serving) => outcome.ok(),
            () = app.parts.stop.now.cancelled() => None,
        },
    };
    let failed = say_drained(outcome, &telemetry);
    finish(&app, deadline).await;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Waits for background work until `deadline`, then delivers telemetry.
pub(crate) async fn finish(app: &App, deadline: Instant) {
    app.tasks.close();
    let left = app.tasks.len();
    if left > 0 {
        tracing::info!(tasks = left, "waiting for background work");
    }
    tokio::select! {
        waited = tokio::time::timeout_at(deadline, app.tasks.wait()) => if waited.is_err() {
            tracing::warn!(tasks = app.tasks.len(), "background work did not end in time; it is left behind");
        },
        () = app.parts.stop.now.cancelled() => {}
    }
    // Up to here it told those who ask that the process drains.
    tokio::select! {
        () = app.parts.health_port.close() => {}
        () = app.parts.stop.now.cancelled() => {}
    }
    let recorder = app.records().clone();
    // It may wait for a disk.
    let written = tokio::task::spawn_blocking(move || recorder.finish()).await;
    if written.is_err() {
        tracing::warn!("the last records may not be on disk");
    }
    if !app.parts.telemetry.shutdown(FLUSH).await {
        tracing::warn!("some spans could not be delivered");
    }
}

/// The socket that was passed, or else one at the configured address; and where it listens.
async fn listen(
    passed: Option<std::net::TcpListener>,
    configured: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let cannot = |source| ServeError::Bind { address: configured, source };
    let listener = match passed {
        Some(passed) => TcpListener::from_std(passed).map_err(ServeError::Passed)?,
        None => TcpListener::bind(configured).await.map_err(cannot)?,
    };
    let address = listener.local_addr().map_err(cannot)?;
    Ok((listener, address))
}

/// The service's routes, with health and reflection beside them.
fn complete(app: &App, routes: Routes) -> Result<Routes, ServeError> {
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for set in app.descriptors.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        reflection = reflection.register_encoded_file_descriptor_set(set);
    }
    let reflection = reflection.build_v1().map_err(ServeError::Reflection)?;
    Ok(routes.add_service(app.parts.health.server()).add_service(reflection))
}

fn server_layer(app: &App, address: SocketAddr) -> ServerLayer {
    let methods = app.parts.methods.iter().map(|method| method.path);
    ServerLayer::new(app.tracing(), app.metrics(), methods)
        .address(address.ip().to_string(), address.port())
        .peer(|extensions| {
            extensions.get::<Arc<PeerIdentity>>().map(|peer| peer.spiffe_id().as_str().to_owned())
        })
        .watcher(Arc::new(app.parts.observer.clone()))
}

/// What operators may ask of every process.
fn observe(app: &App) -> ObserveServer<Observe> {
    Observe::new(app.records().clone(), app.status(), app.stopping()).into_server()
}

/// Tells the issuer where this process can be reached, if it can be known: every address is none.
fn advertise(app: &App, address: SocketAddr) {
    if app.parts.config.service.address.is_none() && !address.ip().is_unspecified() {
        app.identity().advertise(vec![address.to_string()]);
    }
}

fn authz_layer(app: &App) -> AuthzLayer {
    let trust_domain = app.identity().spiffe_id().trust_domain().clone();
    let observer = Arc::new(app.parts.observer.clone());
    AuthzLayer::new(app.policy().clone(), trust_domain, observer)
        .network(avouch_identity::network_of)
        .connection_id(|extensions| {
            extensions.get::<Arc<ConnectionInfo>>().map(|connection| connection.id.to_string())
        })
}

fn server(app: &App) -> Server {
    let filter = if app.parts.config.service.federated {
        IdentityFilter::any_trusted()
    } else {
        IdentityFilter::trust_domain(app.identity().spiffe_id().trust_domain().clone())
    };
    app.server_for(filter)
}

fn write_address_file(app: &App, grpc: SocketAddr) -> Result<(), ServeError> {
    let Some(path) = &app.parts.config.service.address_file else { return Ok(()) };
    let addresses = Addresses { grpc, health: app.health_address(), pid: std::process::id() };
    addresses.write(path).map_err(|source| ServeError::AddressFile { path: path.clone(), source })
}

/// The one line by which a run can be recognised.
fn say_started(app: &App, grpc: SocketAddr) {
    let policy = app.policy().current();
    tracing::info!(
        service = app.parts.name,
        version = VERSION,
        revision = REVISION,
        spiffe_id = %app.identity().spiffe_id(),
        %grpc,
        health = %app.health_address(),
        policy_version = policy.as_ref().map(|policy| policy.version()),
        config = app.parts.config.redacted(),
        "serving"
    );
}

/// Says once that connections will run out of descriptors before they reach the configured limits.
fn warn_of_few_descriptors(app: &App) {
    let needed = descriptors::needed(&app.parts.config.service.options);
    if let Some(limit) = descriptors::limit().filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            "fewer descriptors than [service.limits] could need: past them connections are refused; raise the limit of \
             open files (LimitNOFILE=, ulimit -n) or lower max_connections"
        );
    }
}

/// Logs how the drain ended; gives back the listener's failure, if it failed.
fn say_drained(
    outcome: Option<Result<Drained, ServerError>>,
    telemetry: &ServerLayer,
) -> Option<ServerError> {
    let left = telemetry.open_calls();
    match outcome {
        Some(Ok(drained)) => {
            tracing::info!(
                connections = drained.open_at_shutdown,
                cut = drained.cut,
                took_ms = drained.took.as_millis(),
                left_behind = calls(&left),
                "drained"
            );
            None
        }
        Some(Err(error)) => Some(error),
        None => {
            tracing::warn!(left_behind = calls(&left), "the drain was cut short");
            None
        }
    }
}

/// `pkg.Service/Method ×2, …`, or `nothing`.
fn calls(open: &[OpenCall]) -> String {
    if open.is_empty() {
        return "nothing".to_owned();
    }
    let each: Vec<_> = open.iter().map(|open| format!("{} ×{}", open.method, open.calls)).collect();
    each.join(", ")
}
