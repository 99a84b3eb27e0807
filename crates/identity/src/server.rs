//! The accept loop: mutual TLS with rotating identities, for a tonic service.
//!
//! tonic's own server cannot rotate certificates, verify SPIFFE IDs or say why a handshake failed. This one does,
//! and hands every request to the service with the caller's [`PeerIdentity`](avouch_spiffe::PeerIdentity) in its
//! extensions. One record per attempt goes to the observer. Refuses to start without an identity filter: there is
//! no constructor without one.

mod connection;
mod guard;
mod handshake;
mod options;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use avouch_spiffe::Reason;
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

pub use options::ServerOptions;
pub(crate) use options::retirement_margin;

use crate::filter::IdentityFilter;
use crate::record::{ConnectionId, ConnectionObserver, ConnectionRecord, LogObserver, Verdict};
use crate::snapshot::Identity;
use crate::verify::Rejection;

/// A listener that cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The listening socket failed for good.
    #[error("the listening socket failed")]
    Listener(#[source] std::io::Error),
}

/// How a server ended after it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections open when shutdown began.
    pub open_at_shutdown: usize,
    /// Connections that had to be closed when the grace was over.
    pub cut: usize,
    /// How long draining took.
    pub took: Duration,
}

/// Serves a tonic service over mutual TLS.
#[derive(Debug)]
pub struct Server {
    shared: Shared,
}

/// What every connection of a listener needs.
struct Shared {
    identity: Identity,
    filter: IdentityFilter,
    options: ServerOptions,
    optional_client_certificate: bool,
    http1: bool,
    binding: Option<&'static str>,
    observers: Vec<Arc<dyn ConnectionObserver>>,
    open: AtomicUsize,
    cut: AtomicUsize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("filter", &self.filter)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server with this identity that admits the callers of `filter`.
    pub fn new(identity: Identity, filter: IdentityFilter) -> Self {
        let shared = Shared {
            identity,
            filter,
            options: ServerOptions::default(),
            optional_client_certificate: false,
            http1: false,
            binding: None,
            observers: vec![Arc::new(LogObserver)],
            open: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
        };
        Self { shared }
    }

    /// Sets limits and times.
    #[must_use]
    pub fn options(mut self, options: ServerOptions) -> Self {
        self.shared.options = options;
        self
    }

    /// Admits callers without a certificate too; one that is presented and invalid still fails. For the issuer,
    /// whose callers may not have an identity yet.
    #[must_use]
    pub fn optional_client_certificate(mut self) -> Self {
        self.shared.optional_client_certificate = true;
        self
    }

    /// Speaks HTTP/1.1 beside HTTP/2, chosen by ALPN: for an HTTPS ingress.
    #[must_use]
    pub fn allow_http1(mut self) -> Self {
        self.shared.http1 = true;
        self
    }

    /// Exports keying material under `label` (RFC 8446 §7.5) into each connection's
    /// [`ConnectionInfo`](crate::ConnectionInfo), so that a proof can be bound to its connection.
    #[must_use]
    pub fn channel_binding(mut self, label: &'static str) -> Self {
        self.shared.binding = Some(label);
        self
    }

    /// Adds a receiver of connection records.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn ConnectionObserver>) -> Self {
        self.shared.observers.push(observer);
        self
    }

    /// Serves until `shutdown` resolves, then lets connections finish within the retirement grace.
    ///
    /// # Errors
    /// When the listening socket fails for good; errors of single connections are recorded and survived.
    pub async fn serve<S, B>(
        self,
        listener: TcpListener,
        service: S,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Drained, ServerError>
    where
        S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shared = Arc::new(self.shared);
        let handshakes = Arc::new(Semaphore::new(shared.options.max_handshakes));
        let connections = Arc::new(Semaphore::new(shared.options.max_connections));
        let retiring = CancellationToken::new();
        let tasks = TaskTracker::new();
        tokio::pin!(shutdown);
        let outcome = loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break Ok(()),
                accepted = accept(&listener, &connections) => accepted,
            };
            let (tcp, open) = match accepted {
                Ok(Some(accepted)) => accepted,
                Ok(None) => continue,
                Err(error) => break Err(ServerError::Listener(error)),
            };
            let Ok(handshaking) = handshakes.clone().try_acquire_owned() else {
                refuse_for_load(&shared, &tcp);
                continue;
            };
            let run = connection::run(shared.clone(), tcp, service.clone(), handshaking, retiring.clone());
            tasks.spawn(async move {
                run.await;
                drop(open);
            });
        };
        drop(listener);
        let began = Instant::now();
        let open_at_shutdown = shared.open.load(Ordering::Relaxed);
        retiring.cancel();
        tasks.close();
        tasks.wait().await;
        outcome.map(|()| Drained {
            open_at_shutdown,
            cut: shared.cut.load(Ordering::Relaxed),
            took: began.elapsed(),
        })
    }
}

type Open = tokio::sync::OwnedSemaphorePermit;

/// The next connection, once there is room for it; `None` when an attempt failed that says nothing about the next.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<Option<(TcpStream, Open)>> {
    let Ok(open) = connections.clone().acquire_owned().await else {
        return Ok(None);
    };
    match listener.accept().await {
        Ok((tcp, _)) => {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            Ok(Some((tcp, open)))
        }
        Err(error) if is_fatal(&error) => Err(error),
        Err(error) => {
            // Out of descriptors or memory: wait for connections to end rather than spin.
            tracing::error!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(None)
        }
    }
}

fn is_fatal(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::NotConnected)
        || error.raw_os_error() == Some(EBADF)
}

const EBADF: i32 = 9;

fn refuse_for_load(shared: &Shared, tcp: &TcpStream) {
    let Ok(peer_addr) = tcp.peer_addr() else { return };
    let detail = format!("{} handshakes are under way", shared.options.max_handshakes);
    let rejection = Rejection::new(Reason::HandshakeLimit, detail);
    shared.record(&refused(
        ConnectionId::next(),
        peer_addr,
        tcp.local_addr().ok(),
        &rejection,
        Duration::ZERO,
    ));
}

fn refused(
    id: ConnectionId,
    peer_addr: std::net::SocketAddr,
    local_addr: Option<std::net::SocketAddr>,
    rejection: &Rejection,
    handshake: Duration,
) -> ConnectionRecord {
    ConnectionRecord {
        id,
        peer_addr,
        local_addr,
        peer_id: rejection.peer().map(|peer| peer.spiffe_id().clone()),
        peer_serial: rejection.peer().map(|peer| peer.serial().to_owned()),
        verdict: Verdict::Refused,
        reason: Some(rejection.reason()),
        detail: Some(rejection.detail().to_owned()),
        tls_version: None,
        cipher: None,
        group: None,
        handshake,
    }
}

impl Shared {
    fn record(&self, record: &ConnectionRecord) {
        for observer in &self.observers {
            observer.connection(record);
        }
    }
}
