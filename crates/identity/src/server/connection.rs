//! One connection, from handshake to the end of its life.
//!
//! A connection never outlives the certificates it was made with: at its retirement the peer gets GOAWAY, streams
//! still open at half of the grace end with CONNECTION_RETIRING, and what is left after the grace, or when the first
//! of the two certificates ends, is closed. The hard end is ours, since hyper's graceful shutdown can wait forever for a peer that never completes its preface.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use avouch_spiffe::{PeerIdentity, Reason};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::guard::ConnectionService;
use super::handshake::{self, Established};
use super::{Shared, refused, retirement_margin};
use crate::record::{ConnectionId, ConnectionInfo, ConnectionRecord, Verdict};
use crate::verify::Rejection;

/// Serves one accepted socket to its end.
pub(super) async fn run<S, B>(
    shared: Arc<Shared>,
    tcp: TcpStream,
    service: S,
    handshaking: OwnedSemaphorePermit,
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
    let id = ConnectionId::next();
    let began = Instant::now();
    let (Ok(peer_addr), local_addr) = (tcp.peer_addr(), tcp.local_addr().ok()) else { return };
    let outcome = tokio::select! {
        outcome = handshake::perform(&shared, tcp) => outcome,
        () = retiring.cancelled() => {
            Err(Rejection::new(Reason::ConnectionRetiring, "the server is draining").into())
        }
    };
    drop(handshaking);
    let established = match outcome {
        Ok(established) => established,
        Err(refusal) => {
            shared.record(&refused(id, peer_addr, local_addr, &refusal.rejection, began.elapsed()));
            if let Some(tcp) = refusal.tcp {
                handshake::linger(tcp, shared.options.linger).await;
            }
            return;
        }
    };
    let info = describe(&shared, id, &established, peer_addr, local_addr.unwrap_or(peer_addr));
    shared.record(&accepted(&info, established.peer.as_deref(), began.elapsed()));
    shared.open.fetch_add(1, Ordering::Relaxed);
    serve(&shared, established, info, service, retiring).await;
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

async fn serve<S, B>(
    shared: &Shared,
    established: Established,
    info: ConnectionInfo,
    service: S,
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
    let id = info.id;
    let ending = CancellationToken::new();
    let service = ConnectionService::new(service, established.peer, Arc::new(info), ending.clone());
    let io = TokioIo::new(established.stream);
    if established.http1 {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(shared.options.handshake_timeout);
        let connection = builder.serve_connection(io, service);
        let retire = |connection: std::pin::Pin<&mut _>| http1::Connection::graceful_shutdown(connection);
        live(shared, id, connection, retire, span, &ending, retiring).await;
    } else {
        let connection = http2_builder(shared).serve_connection(io, service);
        let retire = |connection: std::pin::Pin<&mut _>| http2::Connection::graceful_shutdown(connection);
        live(shared, id, connection, retire, span, &ending, retiring).await;
    }
}

fn http2_builder(shared: &Shared) -> http2::Builder<TokioExecutor> {
    let options = &shared.options;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_header_list_size(options.max_header_list_size)
        .max_pending_accept_reset_streams(options.max_pending_accept_reset_streams)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout);
    builder
}

/// Drives a connection to its end: its own, or the one we set.
async fn live<C>(
    shared: &Shared,
    id: ConnectionId,
    connection: C,
    retire: impl Fn(std::pin::Pin<&mut C>),
    span: LifeSpan,
    ending: &CancellationToken,
    retiring: CancellationToken,
) where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return ended(id, result),
        () = retiring.cancelled() => {}
        () = tokio::time::sleep_until(span.retire_at) => {}
    }
    retire(connection.as_mut());
    let left = span.end_at.saturating_duration_since(tokio::time::Instant::now());
    let half = shared.options.retirement_grace.min(left) / 2;
    if let Ok(result) = tokio::time::timeout(half, connection.as_mut()).await {
        return ended(id, result);
    }
    ending.cancel();
    match tokio::time::timeout(half, connection.as_mut()).await {
        Ok(result) => ended(id, result),
        Err(_elapsed) => {
            shared.cut.fetch_add(1, Ordering::Relaxed);
            tracing::info!(connection_id = %id, "connection closed at the end of its grace");
        }
    }
}

fn ended(id: ConnectionId, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(connection_id = %id, error = crate::verify::with_sources(&error), "connection ended");
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
    let exporter = shared
        .binding
        .and_then(|label| session.export_keying_material([0_u8; 32], label.as_bytes(), None).ok());
    ConnectionInfo {
        id,
        peer_addr,
        local_addr,
        tls_version: session.protocol_version().and_then(|version| version.as_str()).unwrap_or("unknown"),
        cipher: crate::tls::cipher_name(session.negotiated_cipher_suite()),
        group: crate::tls::group_name(session.negotiated_key_exchange_group()),
        exporter,
    }
}

fn accepted(info: &ConnectionInfo, peer: Option<&PeerIdentity>, handshake: Duration) -> ConnectionRecord {
    ConnectionRecord {
        id: info.id,
        peer_addr: info.peer_addr,
        local_addr: Some(info.local_addr),
        peer_id: peer.map(|peer| peer.spiffe_id().clone()),
        peer_serial: peer.map(|peer| peer.serial().to_owned()),
        verdict: Verdict::Accepted,
        reason: None,
        detail: None,
        tls_version: Some(info.tls_version),
        cipher: Some(info.cipher.clone()),
        group: Some(info.group.clone()),
        handshake,
    }
}
