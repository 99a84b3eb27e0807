//! One HTTP/2 connection in use by a channel.
//!
//! h2 is used directly, not through hyper's client: only h2 says for certain that a request was never processed
//! (it could not be sent, its stream lies beyond GOAWAY's last one, or it was refused), and nothing is spawned per
//! unary call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::circumstances::Circumstances;
use super::connect::Connected;
use super::failure::ConnectFailure;
use super::outgoing::{Outgoing, Pump};

/// Flow-control windows: the same as hyper's client uses.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// An open connection; dropping it lets calls under way finish, then closes.
pub(crate) struct Link {
    pub(crate) serial: u64,
    pub(crate) use_for: Duration,
    pub(crate) exporter: Option<[u8; 32]>,
    pub(super) circumstances: Arc<Circumstances>,
    sender: SendRequest<Bytes>,
    closed: watch::Receiver<bool>,
    _closing: DropGuard,
}

impl Link {
    /// Starts HTTP/2 on an accepted connection.
    pub(crate) async fn start(connected: Connected, keepalive: Keepalive) -> Result<Self, h2::Error> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_LIST)
            .enable_push(false)
            .handshake(connected.io)
            .await?;
        let closing = CancellationToken::new();
        let (closed_sender, closed) = watch::channel(false);
        tokio::spawn(drive(connection, keepalive, closing.clone(), closed_sender));
        tracing::debug!(
            peer = %connected.peer.spiffe_id(),
            tls_version = connected.tls_version,
            group = connected.group,
            use_for_ms = connected.use_for.as_millis(),
            "connection opened"
        );
        Ok(Self {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            use_for: connected.use_for,
            exporter: connected.exporter,
            circumstances: connected.circumstances,
            sender,
            closed,
            _closing: closing.drop_guard(),
        })
    }

    /// Sends a request. On an error nothing of it has left, and `outgoing` is as it was.
    pub(crate) fn send(&self, outgoing: &mut Outgoing) -> Result<(ResponseFuture, Option<Pump>), h2::Error> {
        let mut sender = self.sender.clone();
        let (response, stream) = sender.send_request(outgoing.head(), outgoing.is_bodiless())?;
        Ok((response, outgoing.send_body(stream)))
    }

    /// Why the server never took this connection, if it turned out not to.
    pub(crate) fn never_taken(&self) -> Option<ConnectFailure> {
        self.circumstances.never_taken()
    }

    /// Resolves when the connection has ended.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means the driver is gone, which is as closed as can be.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

/// How often to ping a connection, and how long to wait for the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

type Io = super::rewind::Rewind<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

/// Drives the connection until it ends by itself, by a lost ping, or after its last call once it is let go.
async fn drive(
    mut connection: h2::client::Connection<Io, Bytes>,
    keepalive: Keepalive,
    closing: CancellationToken,
    closed: watch::Sender<bool>,
) {
    let mut pings = connection.ping_pong();
    let keep_alive = async {
        let Some(pings) = pings.as_mut() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(keepalive.interval).await;
            let pong = tokio::time::timeout(keepalive.timeout, pings.ping(h2::Ping::opaque()));
            if !matches!(pong.await, Ok(Ok(_))) {
                return;
            }
        }
    };
    tokio::pin!(keep_alive);
    let mut let_go = false;
    loop {
        tokio::select! {
            result = &mut connection => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended");
                }
                break;
            }
            () = &mut keep_alive => {
                tracing::info!("a peer stopped answering pings; its connection is closed");
                break;
            }
            // Dropping the last handle does not wake a parked h2 connection; going round polls it once more, and it
            // ends after the calls under way.
            () = closing.cancelled(), if !let_go => let_go = true,
        }
    }
    closed.send_replace(true);
}

/// Whether the peer certainly did not process the request this error belongs to (RFC 9113 §6.8, §8.7).
pub(crate) fn is_unprocessed(error: &h2::Error) -> bool {
    let beyond_goaway = error.is_go_away() && error.is_remote();
    let refused = error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    beyond_goaway || refused
}
