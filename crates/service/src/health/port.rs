//! The connections of the health port: accepted within the port's own limits, which are shared fairly by source
//! network, and closed when they are overdue.
//!
//! A client of the port, whatever it does, costs the process a bounded number of descriptors and some MiB; probes from
//! other networks are still answered.

use std::net::SocketAddr;
use std::sync::Arc;

use avouch_identity::listen::{Accepted, Acceptor, FairLimiter, Share, Slot};
use avouch_limits::Network;
use avouch_telemetry::Metrics;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use super::activity::{Activity, Overdue};
use super::answers;
use super::context::{Peer, Shared};
use super::limits::{
    CONNECTION_WINDOW, CONNECTIONS, GRACE, HEADERS, KEEPALIVE, LOOK_EVERY, RESETS, SEND_BUFFER, SOCKETS,
    STREAM_WINDOW, STREAMS, WATCHES_PER_CONNECTION,
};
use crate::lifecycle::Lifecycle;

/// The listening side of the port.
pub(super) struct Port {
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: TaskTracker,
    connections: FairLimiter<Network>,
    sockets: Arc<Semaphore>,
    builder: auto::Builder<TokioExecutor>,
}

/// An accepted socket, and its slots.
struct AcceptedSocket {
    tcp: TcpStream,
    network: Network,
    cut: CancellationToken,
    _slot: Slot<Network>,
    _socket: OwnedSemaphorePermit,
}

impl Port {
    pub(super) fn new(lifecycle: Lifecycle, metrics: Metrics, rpcs: HealthServer<HealthService>) -> Self {
        Self {
            shared: Arc::new(Shared::new(lifecycle, metrics, rpcs)),
            tasks: TaskTracker::new(),
            connections: FairLimiter::new(CONNECTIONS),
            sockets: Arc::new(Semaphore::new(SOCKETS)),
            builder: builder(),
        }
    }

    /// Accepts and answers until the task ends.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let acceptor = Acceptor::new("health", Share::Few);
        // The semaphore is never closed.
        while let Ok(socket) = self.sockets.clone().acquire_owned().await {
            match acceptor.accept(&listener, || self.connections.make_room()).await {
                Ok(Accepted::Connection(tcp, peer)) => self.enter(tcp, peer, socket),
                // The acceptor has logged it.
                Ok(Accepted::Refused(..) | Accepted::Nothing) => {}
                Err(error) => {
                    tracing::error!(%error, "the health port failed");
                    return;
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, tcp: TcpStream, peer: SocketAddr, socket: OwnedSemaphorePermit) {
        let (network, cut) = (Network::from(peer.ip()), CancellationToken::new());
        // Here and not in the task, so that slots are taken in the order of arrival.
        let slot = self.connections.acquire_with(network, cut.clone());
        self.tasks
            .spawn(run(self.clone(), AcceptedSocket { tcp, network, cut, _slot: slot, _socket: socket }));
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let (interval, timeout) = KEEPALIVE;
    builder
        .http1()
        // The deadline of a request's head is checked by `run`, which also covers HTTP/2 and a partial preface.
        .header_read_timeout(None)
        .max_buf_size(HEADERS as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout);
    builder
}

/// One connection, to its end.
async fn run(port: Arc<Port>, entry: AcceptedSocket) {
    let AcceptedSocket { tcp, network, cut, _slot, _socket } = entry;
    let activity = Activity::new();
    let watches = Arc::new(Semaphore::new(WATCHES_PER_CONNECTION));
    let peer = Arc::new(Peer {
        shared: port.shared.clone(),
        network,
        activity: activity.clone(),
        watches,
        cut: cut.clone(),
    });
    let service = service_fn(move |request| answers::answer(peer.clone(), request));
    let connection = port.builder.serve_connection(TokioIo::new(tcp), service);
    tokio::pin!(connection);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            // The reasons to end come first: a peer that never pauses is ended too.
            biased;
            () = cut.cancelled() => return,
            () = port.shared.closing.cancelled() => break,
            _ = look.tick() => match activity.overdue(Instant::now()) {
                None => {}
                Some(Overdue::Request) => break,
                Some(Overdue::Answer) => return,
            },
            ended = connection.as_mut() => return log(network, ended),
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        ended = tokio::time::timeout(GRACE, connection) => {
            if let Ok(ended) = ended {
                log(network, ended);
            }
        }
    }
}

fn log(network: Network, ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%network, %error, "a connection of the health port ended");
    }
}
