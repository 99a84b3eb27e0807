//! One connection, from handshake to the end of its life.
//!
//! A connection never outlives the certificates it was made with: at its retirement the peer gets GOAWAY, streams
//! still open at half of the grace end with CONNECTION_RETIRING, and what is left after the grace, or when the first
//! of the two certificates ends, is closed. The hard end is ours, since hyper's graceful shutdown can wait for ever for
//! a peer that never completes its preface. A connection without a peer identity has a short life, little room and no
//! right to its place; and any peer that misbehaves is cut off.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use avouch_spiffe::{Network, PeerIdentity, Reason, SpiffeId};
use avouch_text::with_causes;
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::conduct::Conduct;
use super::guard::ConnectionService;
use super::handshake::{self, Agreed, Established, Refused};
use super::inlet::Inlet;
use super::{Gate, Shared, refused, retirement_margin};
use crate::listen::Seat;
use crate::record::{
    ConnectionClosed, ConnectionEnd, ConnectionId, ConnectionInfo, ConnectionRecord, Presented, Slot, Verdict,
};
use crate::verify::Rejection;

/// A socket that was let in, and its places.
pub(super) struct Entry {
    pub(super) tcp: TcpStream,
    pub(super) peer_addr: SocketAddr,
    pub(super) network: Network,
    pub(super) handshaking: Seat<Network>,
    pub(super) gate: Gate,
}

/// Serves one accepted socket to its end.
pub(super) async fn run<S, B>(shared: Arc<Shared>, entry: Entry, service: S, retiring: CancellationToken)
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let id = ConnectionId::next();
    let began = Instant::now();
    let Entry { tcp, peer_addr, network, handshaking, gate } = entry;
    let local_addr = tcp.local_addr().ok();
    // Boxed, as is what follows: a silent peer is to cost a socket and a small task.
    let outcome = tokio::select! {
        outcome = Box::pin(handshake::perform(&shared, tcp)) => outcome,
        () = handshaking.shown_out() => Err(made_room(&shared).into()),
        () = retiring.cancelled() => {
            Err(Rejection::new(Reason::ConnectionRetiring, "the server is draining").into())
        }
    };
    let outcome = outcome.and_then(|established| match gate.open(&shared.options) {
        Ok(open) => Ok((open, established)),
        Err(rejection) => {
            Err(Refused { rejection, tcp: None, tls: Some(Box::new(Agreed::of(&established.stream))) })
        }
    });
    let (open, established) = match outcome {
        Ok(admitted) => admitted,
        Err(refusal) => {
            shared.record(&refused(&shared, id, peer_addr, local_addr, &refusal, began.elapsed()));
            if let Some(tcp) = refusal.tcp {
                // Still in its place among the handshakes, so that those who linger are bounded with them.
                tokio::select! {
                    () = handshake::linger(tcp, shared.options.linger) => {}
                    () = handshaking.shown_out() => {}
                }
            }
            return;
        }
    };
    drop(handshaking);
    let info = describe(&shared, id, &established, peer_addr, local_addr.unwrap_or(peer_addr));
    shared.record(&accepted(&shared, &info, established.peer.as_deref(), began.elapsed()));
    let seat = established.peer.is_none().then(|| gate.unauthenticated.enter(network));
    shared.open.fetch_add(1, Ordering::Relaxed);
    Box::pin(serve(&shared, established, info, service, seat, retiring)).await;
    shared.open.fetch_sub(1, Ordering::Relaxed);
    drop(open);
}

fn made_room(shared: &Shared) -> Rejection {
    let most = shared.options.max_handshakes;
    let detail =
        format!("of {most} handshakes under way the oldest of the network with most made room for another");
    Rejection::new(Reason::HandshakeLimit, detail)
}

async fn serve<S, B>(
    shared: &Arc<Shared>,
    established: Established,
    info: ConnectionInfo,
    service: S,
    seat: Option<Seat<Network>>,
    retiring: CancellationToken,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let span = LifeSpan::of(shared, &established);
    let Established { stream, peer, http1, .. } = established;
    let info = Arc::new(info);
    let peer_id = peer.as_ref().map(|peer| peer.spiffe_id().clone());
    let conduct = Arc::new(Conduct::new(&shared.options, peer.is_some()));
    let late = (!http1).then(|| tokio::time::Instant::now() + shared.options.handshake_timeout);
    let allowance = peer.is_none().then_some(shared.options.max_unauthenticated_bytes);
    let io = TokioIo::new(Inlet::new(stream, late, allowance, conduct.clone()));
    let has_identity = peer.is_some();
    let service = ConnectionService::new(shared.clone(), service, peer, info.clone(), conduct.clone());
    let life = Life { shared, info: &info, peer_id, conduct: &conduct, seat, span, retiring };
    if http1 {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(shared.options.handshake_timeout)
            .max_buf_size(HTTP1_BUFFER.max(shared.options.max_header_list_size as usize));
        let connection = builder.serve_connection(io, service);
        life.live(connection, http1::Connection::graceful_shutdown).await;
    } else {
        let connection = http2_builder(shared, has_identity).serve_connection(io, service);
        life.live(connection, http2::Connection::graceful_shutdown).await;
    }
}

/// What HTTP/1.1 may hold of a request's head or of a body that nobody reads yet.
const HTTP1_BUFFER: usize = 64 * 1024;

/// A connection without a peer identity enrols or recovers: two calls of a few kilobytes.
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

/// What may end a connection.
struct Life<'a> {
    shared: &'a Shared,
    info: &'a ConnectionInfo,
    peer_id: Option<SpiffeId>,
    conduct: &'a Conduct,
    seat: Option<Seat<Network>>,
    span: LifeSpan,
    retiring: CancellationToken,
}

impl Life<'_> {
    /// Drives a connection to its end: its own, or the one we set.
    async fn live<C>(self, connection: C, retire: impl Fn(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        tokio::pin!(connection);
        tokio::select! {
            biased;
            () = self.conduct.is_cut() => {}
            () = self.shown_out() => {
                self.conduct.cut(Reason::HandshakeLimit, "made room for another without identity");
            }
            () = self.whole(connection, retire) => {}
        }
        let cause = self.conduct.cause();
        // Closed for what the peer did: on record, and no more said to the peer.
        if let Some((reason, detail)) = cause {
            self.shared.ended(&ConnectionEnd {
                id: self.info.id,
                peer_addr: self.info.peer_addr,
                peer_id: self.peer_id,
                reason: *reason,
                detail: detail.clone(),
            });
        }
        let at = self.shared.identity.clock().now();
        self.shared.closed(&ConnectionClosed { id: self.info.id, at, cause: cause.cloned() });
    }

    /// The ordinary life.
    async fn whole<C>(&self, mut connection: Pin<&mut C>, retire: impl Fn(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let id = self.info.id;
        tokio::select! {
            result = connection.as_mut() => return ended(id, result),
            () = self.retiring.cancelled() => {}
            () = tokio::time::sleep_until(self.span.retire_at) => {}
        }
        retire(connection.as_mut());
        let left = self.span.end_at.saturating_duration_since(tokio::time::Instant::now());
        let half = self.shared.options.retirement_grace.min(left) / 2;
        if let Ok(result) = tokio::time::timeout(half, connection.as_mut()).await {
            return ended(id, result);
        }
        self.conduct.retiring.cancel();
        match tokio::time::timeout(half, connection.as_mut()).await {
            Ok(result) => ended(id, result),
            Err(_elapsed) => {
                self.shared.cut.fetch_add(1, Ordering::Relaxed);
                if self.peer_id.is_some() {
                    tracing::info!(connection_id = %id, "connection closed at the end of its grace");
                }
            }
        }
    }

    async fn shown_out(&self) {
        match &self.seat {
            Some(seat) => seat.shown_out().await,
            None => std::future::pending().await,
        }
    }
}

fn ended(id: ConnectionId, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(connection_id = %id, error = %with_causes(&error), "connection ended");
    }
}

/// When a connection is asked to go, and when it is gone at the latest.
#[derive(Clone, Copy)]
struct LifeSpan {
    /// Its age limit ± 10 %, or a margin before either certificate ends; near the end at half of what is left, so
    /// that nobody reconnects in circles.
    retire_at: tokio::time::Instant,
    /// The end of the certificate that ends first.
    end_at: tokio::time::Instant,
}

impl LifeSpan {
    fn of(shared: &Shared, established: &Established) -> Self {
        let wall = shared.identity.clock().now();
        let now = tokio::time::Instant::now();
        let left = |not_after: SystemTime| not_after.duration_since(wall).unwrap_or_default();
        let margin = |not_before: SystemTime, not_after: SystemTime| {
            let life = not_after.duration_since(not_before).unwrap_or_default();
            left(not_after).saturating_sub(retirement_margin(life)).max(left(not_after) / 2)
        };
        let mut retire_in = crate::jitter::around(shared.options.max_connection_age, 0.1)
            .min(margin(established.own_not_before, established.own_not_after));
        let mut end_in = left(established.own_not_after);
        if let Some(peer) = &established.peer {
            retire_in = retire_in.min(margin(peer.not_before(), peer.not_after()));
            end_in = end_in.min(left(peer.not_after()));
        } else {
            let age = shared.options.unauthenticated_connection_age;
            retire_in = retire_in.min(age / 2);
            end_in = end_in.min(age);
        }
        Self { retire_at: now + retire_in, end_at: now + end_in }
    }
}

fn describe(
    shared: &Shared,
    id: ConnectionId,
    established: &Established,
    peer_addr: std::net::SocketAddr,
    local_addr: std::net::SocketAddr,
) -> ConnectionInfo {
    let session = established.stream.get_ref().1;
    let agreed = Agreed::of(&established.stream);
    let exporter = shared
        .binding
        .and_then(|label| session.export_keying_material([0_u8; 32], label.as_bytes(), None).ok());
    ConnectionInfo {
        id,
        peer_addr,
        local_addr,
        tls_version: agreed.version.unwrap_or("unknown"),
        cipher: agreed.cipher.unwrap_or_default(),
        group: agreed.group.unwrap_or_default(),
        exporter,
        slot: Slot::default(),
    }
}

fn accepted(
    shared: &Shared,
    info: &ConnectionInfo,
    peer: Option<&PeerIdentity>,
    handshake: Duration,
) -> ConnectionRecord {
    ConnectionRecord {
        id: info.id,
        at: shared.identity.clock().now(),
        peer_addr: info.peer_addr,
        local_addr: Some(info.local_addr),
        peer_id: peer.map(|peer| peer.spiffe_id().clone()),
        peer_serial: peer.map(|peer| peer.serial().to_owned()),
        presented: peer.map(Presented::from),
        verdict: Verdict::Accepted,
        reason: None,
        detail: None,
        tls_version: Some(info.tls_version),
        cipher: Some(info.cipher.clone()),
        group: Some(info.group.clone()),
        handshake,
        bundle_sequence: shared.bundle_sequence(),
    }
}
