//! The health port's connections: accepted within small limits of the port's own, shared out by source network, and
//! ended when they overstay.
//!
//! Whoever reaches the port may do what they like with it and costs the process a bounded number of descriptors and
//! some MiB; probes from elsewhere are still answered.

use std::net::SocketAddr;
use std::sync::Arc;

use avouch_identity::listen::{Accepted, Acceptor, Fair, Seat, Share};
use avouch_spiffe::Network;
use avouch_spiffe::throttle::{Rate, Throttle};
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
use super::limits::{
    CONNECTION_WINDOW, CONNECTIONS, GRACE, HEADERS, KEEPALIVE, LOOK_EVERY, MESSAGE, NETWORKS, PAGE_RATE,
    PAGES, RESETS, SEND_BUFFER, SOCKETS, STREAM_WINDOW, STREAMS, WATCHES, WATCHES_PER_CONNECTION,
};
use crate::phase::Life;

/// What the connections share.
pub(super) struct Port {
    pub(super) life: Life,
    pub(super) metrics: Metrics,
    pub(super) rpcs: HealthServer<HealthService>,
    pub(super) pages: Fair<Network>,
    pub(super) page_rate: Throttle<Network>,
    pub(super) watches: Fair<Network>,
    /// The process ends.
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
    connections: Fair<Network>,
    sockets: Arc<Semaphore>,
    builder: auto::Builder<TokioExecutor>,
}

/// One connection, for its requests.
pub(super) struct Peer {
    pub(super) port: Arc<Port>,
    pub(super) network: Network,
    pub(super) activity: Activity,
    pub(super) watches: Arc<Semaphore>,
    /// Ends the connection at once.
    pub(super) cut: CancellationToken,
}

/// An accepted socket, and its places.
struct Entry {
    tcp: TcpStream,
    network: Network,
    cut: CancellationToken,
    _seat: Seat<Network>,
    _socket: OwnedSemaphorePermit,
}

impl Port {
    pub(super) fn new(life: Life, metrics: Metrics, rpcs: HealthServer<HealthService>) -> Self {
        let (burst, every) = PAGE_RATE;
        Self {
            life,
            metrics,
            rpcs: rpcs.max_decoding_message_size(MESSAGE),
            pages: Fair::new(PAGES),
            page_rate: Throttle::new(Rate { burst, every }, NETWORKS),
            watches: Fair::new(WATCHES),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            connections: Fair::new(CONNECTIONS),
            sockets: Arc::new(Semaphore::new(SOCKETS)),
            builder: builder(),
        }
    }

    /// Accepts and answers until the task ends.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let acceptor = Acceptor::new("health", Share::Few);
        // It is never closed.
        while let Ok(socket) = self.sockets.clone().acquire_owned().await {
            match acceptor.accept(&listener, || self.connections.make_room()).await {
                Ok(Accepted::Connection(tcp, peer)) => self.enter(tcp, peer, socket),
                // The acceptor has said so.
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
        // Here and not in the task, so that places are taken in the order of arrival.
        let seat = self.connections.enter_with(network, cut.clone());
        self.tasks.spawn(run(self.clone(), Entry { tcp, network, cut, _seat: seat, _socket: socket }));
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let (interval, timeout) = KEEPALIVE;
    builder
        .http1()
        // The time of a head is part of the connection's own watch, which knows HTTP/2 and a partial preface too.
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
async fn run(port: Arc<Port>, entry: Entry) {
    let Entry { tcp, network, cut, _seat, _socket } = entry;
    let activity = Activity::new();
    let watches = Arc::new(Semaphore::new(WATCHES_PER_CONNECTION));
    let peer =
        Arc::new(Peer { port: port.clone(), network, activity: activity.clone(), watches, cut: cut.clone() });
    let service = service_fn(move |request| answers::answer(peer.clone(), request));
    let connection = port.builder.serve_connection(TokioIo::new(tcp), service);
    tokio::pin!(connection);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            // The reasons to end come first: a peer that never pauses is ended too.
            biased;
            () = cut.cancelled() => return,
            () = port.closing.cancelled() => break,
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
