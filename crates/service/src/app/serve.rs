//! Serves until asked to stop, then drains within a time limit and logs what it waited for.
//!
//! Layers from outside in: telemetry (so that refusals are seen), authorization, the service's routes. There is no
//! way to serve routes without them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use avouch_api::observe::v1::observe_server::ObserveServer;
use avouch_authz::layer::AuthzLayer;
use avouch_identity::listen::descriptors;
use avouch_identity::{ConnectionInfo, Drained, IdentityFilter, Server, ServerError, Usage};
use avouch_records::Observe;
use avouch_spiffe::PeerIdentity;
use avouch_telemetry::{OpenCall, ServerLayer, ShareReading};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;
use tonic::service::Routes;
use tower_layer::Layer;

use super::App;
use crate::address_file::Addresses;
use crate::launch_options::{REVISION, VERSION};
use crate::lifecycle::Phase;
use crate::status::Listening;
use crate::systemd;

/// How long telemetry may take to deliver the spans that it holds.
pub(crate) const TELEMETRY_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that may wait to be accepted, which Linux bounds by as much unless it is told otherwise. With the 128 of the
/// standard library, most clients that lose a server at once try again a second after it is back, or are reset.
const BACKLOG: u32 = 4_096;

/// How much longer than the drain the listener may take before it is abandoned.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// Why a process could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener cannot be bound.
    #[error("{address} cannot be bound")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The socket that a service manager passed cannot be served.
    #[error("the socket that the service manager passed cannot be served")]
    Passed(#[source] io::Error),
    /// The address file cannot be written.
    #[error("the address file {path} cannot be written")]
    AddressFile {
        /// The path of the address file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
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
    // This continues the steps of `run::start`. 5. The listener: from here on the kernel queues incoming connections.
    let (listener, address) = listen(app.parts.socket.take(), app.parts.config.service.listen)?;
    let telemetry = server_layer(&app, address);
    let server = configure(server(&app)).methods(app.parts.methods.iter());
    show_shares(&app, &server);
    // `serve` consumes the app, so this is set only once.
    let _ = app.listening.set(Listening::of(address, &server));
    let routes = routes.add_service(observe(&app));
    let service = telemetry.layer(authz_layer(&app).layer(complete(&app, routes)?.prepare()));
    advertise(&app, address);
    write_address_file(&app, address)?;
    say_started(&app, address);
    warn_of_few_descriptors(&app);
    // 6. Ready: announced before the first accept; clients that connect at once wait in the kernel's queue.
    app.parts.lifecycle.enter(Phase::Serving);
    systemd::ready();

    // 7. The signal: up to it the listener may run for ever, from then on it has a deadline.
    let stop = app.parts.stop.clone();
    let serving = server.serve(listener, service, drain_begins(&app, &telemetry));
    tokio::pin!(serving);
    let outcome = tokio::select! {
        // Any order: if the listener fails as the signal arrives, its outcome is read below.
        outcome = &mut serving => Some(outcome),
        () = stop.cancelled() => None,
    };
    // 8. The drain.
    // If the listener failed, the tasks beside it must be told to stop.
    stop.cancel();
    let deadline = Instant::now() + app.parts.config.service.drain_timeout;
    let outcome = match outcome {
        Some(outcome) => Some(outcome),
        None => tokio::time::timeout_at(deadline + DRAIN_GRACE, &mut serving).await.ok(),
    };
    let failed = say_drained(outcome, &telemetry);
    finish(&app, deadline).await;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Waits until the process is asked to stop, then notifies probes, systemd and the log.
fn drain_begins(app: &App, telemetry: &ServerLayer) -> impl Future<Output = ()> + Send + use<> {
    let (stop, lifecycle) = (app.parts.stop.clone(), app.parts.lifecycle.clone());
    let (telemetry, timeout) = (telemetry.clone(), app.parts.config.service.drain_timeout);
    async move {
        stop.cancelled().await;
        lifecycle.enter(Phase::Draining);
        systemd::stopping();
        let waiting_for = calls(&telemetry.open_calls());
        tracing::info!(waiting_for, timeout_ms = timeout.as_millis(), "draining");
    }
}

/// Waits for background work until `deadline`, then delivers telemetry.
pub(crate) async fn finish(app: &App, deadline: Instant) {
    app.tasks.close();
    let left = app.tasks.len();
    if left > 0 {
        tracing::info!(tasks = left, "waiting for background work");
    }
    if tokio::time::timeout_at(deadline, app.tasks.wait()).await.is_err() {
        tracing::warn!(tasks = app.tasks.len(), "background work did not end in time; it is left behind");
    }
    // Closed only now, so that probes see "draining" during the drain.
    app.parts.health_port.close().await;
    let recorder = app.records().clone();
    // Blocking: it may wait for a disk.
    let written = tokio::task::spawn_blocking(move || recorder.finish()).await;
    if written.is_err() {
        tracing::warn!("the last records may not be on disk");
    }
    if !app.parts.telemetry.shutdown(TELEMETRY_FLUSH_TIMEOUT).await {
        tracing::warn!("some spans could not be delivered");
    }
}

/// Adds the listener's limits and their use to the process's metrics.
fn show_shares(app: &App, server: &Server) {
    let shares = server.shares();
    let read = move || shares.usage(1).iter().map(reading).collect();
    if let Err(error) = app.metrics().watch_shares(read) {
        // Registration fails only in a program that serves twice.
        tracing::debug!(%error, "the listener's shares are not among the metrics");
    }
}

fn reading(usage: &Usage) -> ShareReading {
    ShareReading {
        resource: usage.resource.name(),
        used: usage.used,
        limit: usage.limit,
        top_holder: usage.holders.first().map_or(0, |holder| holder.held),
        refused: usage.refused,
    }
}

/// The passed socket, or else one bound to the configured address; with its local address.
fn listen(
    passed: Option<std::net::TcpListener>,
    configured: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let cannot = |source| ServeError::Bind { address: configured, source };
    let listener = match passed {
        Some(passed) => TcpListener::from_std(passed).map_err(ServeError::Passed)?,
        None => bind(configured).map_err(cannot)?,
    };
    let address = listener.local_addr().map_err(cannot)?;
    Ok((listener, address))
}

/// As `TcpListener::bind`, with a longer queue.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted process listens although connections of the one before are not forgotten yet.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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

/// The `avouch.observe.v1` service, which every process serves to operators.
fn observe(app: &App) -> ObserveServer<Observe> {
    Observe::new(app.records().clone(), app.status(), app.stopping()).into_server()
}

/// Tells the issuer this process's address, unless it listens on 0.0.0.0 or [::] and none is configured.
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
    let filter = if app.parts.config.service.admit_federated {
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

/// The start line, by which a run can be recognised.
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

/// Logs once if connections will run out of file descriptors before they reach the configured limits.
fn warn_of_few_descriptors(app: &App) {
    let needed = app.parts.config.service.options.descriptors_needed();
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn clients_that_come_at_once_wait_to_be_accepted() {
        let (listener, address) = listen(None, "127.0.0.1:0".parse().unwrap()).unwrap();
        let mut clients = Vec::new();
        for _ in 0..300 {
            // The system tries again after a second where there was no room.
            let client = timeout(Duration::from_millis(900), TcpStream::connect(address)).await;
            clients.push(client.expect("there is room").unwrap());
        }
        drop(listener);
    }
}
