//! One connection, from handshake to close.
//!
//! A connection never outlives the certificates it was made with: at its retirement the peer gets GOAWAY, streams still
//! open at half of the grace end with CONNECTION_RETIRING, and what is left after the grace, or when the first of the
//! two certificates ends, is closed. This hard end is enforced here, since hyper's graceful shutdown can wait for ever
//! for a peer that never completes its preface. A connection without a peer identity has a short life and small windows,
//! and may be evicted; a peer that misbehaves is cut off.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use avouch_limits::Network;
use avouch_spiffe::{PeerIdentity, Reason};
use bytes::Bytes;
use http_body::Body;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service;

use super::abuse::AbuseGuard;
use super::attempt_records::Attempt;
use super::driver::Driver;
use super::gate::Gate;
use super::handshake::{self, Established, Rejected};
use super::lifetime::Lifetime;
use super::limited_stream::LimitedStream;
use super::overload_response;
use super::request::ConnectionService;
use super::request_body::RequestBody;
use super::send_backlog::SendBacklog;
use super::shared::{Shared, Signals};
use super::shares::{ConnectionShare, ShareExceeded};
use super::state::ConnectionState;
use crate::connection_shutdown::ConnectionShutdown;
use crate::listen::Slot;
use crate::negotiated_tls::NegotiatedTls;
use crate::record::{ConnectionExtensions, ConnectionInfo};
use crate::verify::Rejection;

/// A socket that the gate let in, and its slot among the handshakes.
pub(super) struct AcceptedSocket {
    tcp: TcpStream,
    peer_addr: SocketAddr,
    network: Network,
    handshaking: Slot<Network>,
    gate: Gate,
}

impl AcceptedSocket {
    /// Takes a slot among the handshakes for a socket that the gate lets in.
    pub(super) fn new(tcp: TcpStream, peer_addr: SocketAddr, network: Network, gate: &Gate) -> Self {
        Self { tcp, peer_addr, network, handshaking: gate.handshakes.acquire(network), gate: gate.clone() }
    }
}

/// A connection whose handshake is over, and its share of the listener.
struct Opened {
    established: Established,
    shutdown: Arc<ConnectionShutdown>,
    share: ConnectionShare,
    /// The slot of a connection without an identity, which may be evicted.
    slot: Option<Slot<Network>>,
}

/// Serves one accepted socket to its end.
pub(super) async fn run<S, B>(
    shared: Arc<Shared>,
    socket: AcceptedSocket,
    service: S,
    mut signals: watch::Receiver<Signals>,
) where
    S: Service<http::Request<RequestBody>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let AcceptedSocket { tcp, peer_addr, network, handshaking, gate } = socket;
    let attempt = Attempt::begin(&tcp, peer_addr);
    // 1. The handshake, in one of the slots for handshakes.
    // Boxed, as is what follows: a silent peer is to cost a socket and a small task. The order does not matter: a
    // handshake that ends in the moment in which its slot is taken, or the server drains, may count either way.
    let outcome = tokio::select! {
        outcome = Box::pin(handshake::perform(&shared, tcp)) => outcome,
        () = handshaking.evicted() => Err(made_room(&shared).into()),
        // An error means that the server was dropped: it counts as draining.
        _ = signals.wait_for(|signals| signals.draining) => {
            Err(Rejection::new(Reason::ConnectionRetiring, "the server is draining").into())
        }
    };
    let established = match outcome {
        Ok(established) => established,
        Err(rejected) => return reject(&shared, attempt, rejected, &handshaking).await,
    };
    // 2. A share of the connections, by the identity that the handshake proved.
    let shutdown = Arc::new(ConnectionShutdown::default());
    let peer = established.peer.clone();
    let peer_id = peer.as_deref().map(PeerIdentity::spiffe_id);
    let share = match gate.shares.open(peer_id, network, &shutdown) {
        Ok(share) => share,
        Err(exceeded) => return turn_away(&shared, attempt, established, &exceeded, &handshaking).await,
    };
    drop(handshaking);
    // 3. The record: the connection counts as accepted.
    let info = describe(&shared, attempt, &established);
    attempt.accepted(&shared, &info, peer.as_deref());
    // 4. The requests, until the connection ends.
    let slot = peer.is_none().then(|| gate.unauthenticated.acquire(network));
    shared.open.fetch_add(1, Ordering::Relaxed);
    let opened = Opened { established, shutdown, share, slot };
    Box::pin(serve(&shared, opened, info, service, signals)).await;
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

/// Records a rejected handshake, and closes so that the peer hears why. The connection is still in its slot among the
/// handshakes, so that those who linger are bounded with them.
async fn reject(shared: &Shared, attempt: Attempt, rejected: Rejected, handshaking: &Slot<Network>) {
    attempt.rejected(shared, &rejected);
    let Some(tcp) = rejected.tcp else { return };
    // Whichever finishes first, the connection is closed. Boxed for its buffer, which no accepted connection needs.
    tokio::select! {
        () = Box::pin(handshake::linger(tcp, shared.options.linger)) => {}
        () = handshaking.evicted() => {}
    }
}

/// Rejects a peer that gets no share of the connections, and tells it why.
async fn turn_away(
    shared: &Shared,
    attempt: Attempt,
    established: Established,
    exceeded: &ShareExceeded,
    handshaking: &Slot<Network>,
) {
    let Established { stream, peer, http1, .. } = established;
    let mut rejection = Rejection::new(Reason::HandshakeLimit, exceeded.to_string());
    if let Some(peer) = peer.as_deref() {
        rejection = rejection.with_peer(peer.clone());
    }
    attempt.rejected(shared, &Rejected::after_handshake(rejection, &stream));
    // The reason as its first word: the peer has no other way to know which fault this is.
    let text = format!("{}: {exceeded}", Reason::HandshakeLimit);
    // Whichever finishes first, the connection is closed: telling the peer must not hold a slot that another handshake needs.
    tokio::select! {
        () = Box::pin(overload_response::send(stream, http1, &text, shared.options.linger)) => {}
        () = handshaking.evicted() => {}
    }
}

fn made_room(shared: &Shared) -> Rejection {
    let most = shared.options.max_handshakes;
    let detail =
        format!("of {most} handshakes under way the oldest of the network with most made room for another");
    Rejection::new(Reason::HandshakeLimit, detail)
}

async fn serve<S, B>(
    shared: &Arc<Shared>,
    opened: Opened,
    info: ConnectionInfo,
    service: S,
    signals: watch::Receiver<Signals>,
) where
    S: Service<http::Request<RequestBody>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Opened { established, shutdown, share, slot } = opened;
    let lifetime = Lifetime::of(shared, &established);
    let Established { stream, peer, http1, judged_by, svid_since, .. } = established;
    let has_identity = peer.is_some();
    let late = (!http1).then(|| tokio::time::Instant::now() + shared.options.handshake_timeout);
    let allowance = (!has_identity).then_some(shared.options.max_unauthenticated_bytes);
    let state = Arc::new(ConnectionState {
        shared: shared.clone(),
        info: Arc::new(info),
        peer,
        shutdown,
        abuse: AbuseGuard::new(&shared.options, has_identity),
        share,
        backlog: SendBacklog::default(),
    });
    let io = TokioIo::new(LimitedStream::new(stream, late, allowance, state.clone()));
    let service = ConnectionService::new(service, state.clone());
    let driver = Driver { state: &state, slot, lifetime, signals, judged_by, svid_since };
    if http1 {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(shared.options.handshake_timeout)
            .max_buf_size(HTTP1_BUFFER.max(shared.options.max_header_list_size as usize));
        let connection = Box::pin(builder.serve_connection(io, service));
        driver.drive(connection, http1::Connection::graceful_shutdown).await;
    } else {
        let connection = Box::pin(http2_builder(shared, has_identity).serve_connection(io, service));
        driver.drive(connection, http2::Connection::graceful_shutdown).await;
    }
}

/// The most bytes that HTTP/1.1 holds of a request's head, or of a body that nobody reads yet.
const HTTP1_BUFFER: usize = 64 * 1024;

/// The flow-control windows: what a connection, and one of its streams, may send of requests that nobody reads yet. h2
/// holds these bytes uncounted; once they are read, `RequestBody` counts them.
const CONNECTION_WINDOW: u32 = 256 * 1024;
const STREAM_WINDOW: u32 = 128 * 1024;

/// The most streams of a connection without a peer identity, which enrols or recovers: two calls of a few kilobytes.
const UNAUTHENTICATED_STREAMS: u32 = 16;
const UNAUTHENTICATED_WINDOW: u32 = 64 * 1024;

fn http2_builder(shared: &Shared, has_identity: bool) -> http2::Builder<TokioExecutor> {
    let options = &shared.options;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_header_list_size(options.max_header_list_size)
        .max_pending_accept_reset_streams(options.max_pending_accept_reset_streams)
        .max_send_buf_size(options.max_send_buffer_size)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout);
    if !has_identity {
        builder
            .max_concurrent_streams(options.max_concurrent_streams.min(UNAUTHENTICATED_STREAMS))
            .max_local_error_reset_streams(UNAUTHENTICATED_STREAMS as usize)
            .initial_stream_window_size(UNAUTHENTICATED_WINDOW)
            .initial_connection_window_size(UNAUTHENTICATED_WINDOW);
    }
    builder
}

fn describe(shared: &Shared, attempt: Attempt, established: &Established) -> ConnectionInfo {
    let session = established.stream.get_ref().1;
    let tls = NegotiatedTls::of(session);
    let exporter = shared
        .binding
        .and_then(|label| session.export_keying_material([0_u8; 32], label.as_bytes(), None).ok());
    ConnectionInfo {
        id: attempt.id,
        peer_addr: attempt.peer_addr,
        local_addr: attempt.local_addr.unwrap_or(attempt.peer_addr),
        tls_version: tls.version,
        cipher: tls.suite,
        group: tls.group,
        exporter,
        extensions: ConnectionExtensions::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::task::{Context, Poll};

    use super::*;

    #[derive(Clone)]
    struct Nothing;

    impl Service<http::Request<RequestBody>> for Nothing {
        type Response = http::Response<tonic::body::Body>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<RequestBody>) -> Self::Future {
            ready(Ok(http::Response::default()))
        }
    }

    /// The size of what a function returns; it is not called.
    fn size<Arguments, F>(_: impl FnOnce(Arguments) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_takes_a_small_task_beside_its_session_and_its_http2() {
        let task = size(|(shared, socket, service, signals)| {
            run::<Nothing, tonic::body::Body>(shared, socket, service, signals)
        });
        let served = size(|(shared, opened, info, service, signals)| {
            serve::<Nothing, tonic::body::Body>(shared, opened, info, service, signals)
        });
        assert!(task <= 2_048, "{task} octets");
        assert!(served <= 2_048, "{served} octets");
    }
}
