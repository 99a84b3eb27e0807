//! The accept loop: mutual TLS with rotating identities, for a tonic service.
//!
//! tonic's own server cannot rotate certificates, verify SPIFFE IDs or say why a handshake failed. This one does,
//! and hands every call to the service with the caller's [`PeerIdentity`](avouch_spiffe::PeerIdentity) in its
//! extensions; what is no gRPC call is answered before. One record per attempt goes to the observer. Refuses to start without an identity filter: there is
//! no constructor without one.
//!
//! What is not authenticated yet is bounded in number, time and bytes, and shared out by source network, so that
//! nobody locks out others: see [`ServerOptions`].

mod conduct;
mod connection;
mod guard;
mod handshake;
mod inlet;
mod options;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use avouch_spiffe::throttle::{Rate, Throttle};
use avouch_spiffe::{Network, Reason};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

pub use options::ServerOptions;
pub(crate) use options::retirement_margin;

use crate::filter::IdentityFilter;
use crate::http_rules::Serves;
use crate::listen::{Accepted, Acceptor, Fair, Share};
use crate::record::{
    ConnectionClosed, ConnectionEnd, ConnectionId, ConnectionObserver, ConnectionRecord, LogObserver,
    RequestRefused, Verdict,
};
use crate::snapshot::Identity;
use crate::tls::TlsOffer;
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
///
/// A request that is no gRPC call never reaches the service: any method but POST is answered with 405, any content type
/// but `application/grpc`, `application/grpc+…` or either with parameters with 415, gRPC-Web included.
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
    serves: Serves,
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
            serves: Serves::Grpc,
            binding: None,
            observers: vec![Arc::new(LogObserver::default())],
            open: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
        };
        Self { shared }
    }

    /// Sets limits and times. What tokio, hyper or h2 could not take counts as the most that they can.
    #[must_use]
    pub fn options(mut self, options: ServerOptions) -> Self {
        self.shared.options = options.without_panics();
        self
    }

    /// Admits callers without a certificate too; one that is presented and invalid still fails. For the issuer,
    /// whose callers may not have an identity yet.
    #[must_use]
    pub fn optional_client_certificate(mut self) -> Self {
        self.shared.optional_client_certificate = true;
        self
    }

    /// Speaks HTTP/1.1 beside HTTP/2, chosen by ALPN: for an HTTPS ingress, whose service is not gRPC.
    ///
    /// Its requests are not held to the rules of gRPC, whatever their version. They name one host instead: without a
    /// Host header field (HTTP/1.0 and 1.1), with two, with one that is no host or differs from the target's, they are
    /// answered with 400 (RFC 9112 §3.2, RFC 9113 §8.3.1). Methods and content types are for the service to judge; gRPC
    /// beside it wants [`GrpcOnly`](crate::GrpcOnly) around it.
    #[must_use]
    pub fn allow_http1(mut self) -> Self {
        self.shared.serves = Serves::Http;
        self
    }

    /// Exports keying material under `label` (RFC 8446 §7.5) into each connection's
    /// [`ConnectionInfo`](crate::ConnectionInfo), so that a proof can be bound to its connection.
    #[must_use]
    pub fn channel_binding(mut self, label: &'static str) -> Self {
        self.shared.binding = Some(label);
        self
    }

    /// What it offers in a handshake.
    #[must_use]
    pub fn offer(&self) -> TlsOffer {
        TlsOffer::ours()
    }

    /// Whether it admits callers without a certificate.
    #[must_use]
    pub fn admits_without_certificate(&self) -> bool {
        self.shared.optional_client_certificate
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
        let gate = Gate::new(&shared.options);
        let acceptor = Acceptor::new("mutual TLS", Share::Many);
        let retiring = CancellationToken::new();
        let tasks = TaskTracker::new();
        tokio::pin!(shutdown);
        let outcome = loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break Ok(()),
                accepted = acceptor.accept(&listener, || gate.make_room()) => accepted,
            };
            let (tcp, peer_addr) = match accepted {
                Ok(Accepted::Connection(tcp, peer_addr)) => (tcp, peer_addr),
                Ok(Accepted::Refused(tcp, peer_addr, shortage)) => {
                    let rejection = Rejection::new(Reason::HandshakeLimit, shortage.to_string());
                    refuse_unseen(&shared, &tcp, peer_addr, &rejection);
                    continue;
                }
                Ok(Accepted::Nothing) => continue,
                Err(error) => break Err(ServerError::Listener(error)),
            };
            let network = Network::from(peer_addr.ip());
            if let Err(rejection) = gate.check(&shared.options, network) {
                refuse_unseen(&shared, &tcp, peer_addr, &rejection);
                continue;
            }
            let entry = connection::Entry {
                tcp,
                peer_addr,
                network,
                handshaking: gate.handshakes.enter(network),
                gate: gate.clone(),
            };
            tasks.spawn(connection::run(shared.clone(), entry, service.clone(), retiring.clone()));
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

/// What stands between the socket and a handshake; clones share the counts.
#[derive(Clone)]
struct Gate {
    rate: Arc<Throttle<Network>>,
    handshakes: Arc<Fair<Network>>,
    connections: Arc<Semaphore>,
    unauthenticated: Arc<Fair<Network>>,
}

/// Handshakes that are given up when the system has no more room.
const ROOM_AT_ONCE: usize = 16;

/// Networks whose handshake rates are told apart, at 100 octets each.
const NETWORKS: usize = 16 * 1024;

impl Gate {
    fn new(options: &ServerOptions) -> Self {
        let per_second = options.max_handshake_rate.max(1);
        let rate = Rate { burst: per_second, every: Duration::from_secs(1) / per_second };
        let unauthenticated = options.max_unauthenticated_connections.min(options.max_connections / 2);
        Self {
            rate: Arc::new(Throttle::new(rate, NETWORKS)),
            handshakes: Arc::new(Fair::new(options.max_handshakes)),
            connections: Arc::new(Semaphore::new(options.max_connections)),
            unauthenticated: Arc::new(Fair::new(unauthenticated)),
        }
    }

    /// Whether a handshake with somebody of `network` may begin.
    fn check(&self, options: &ServerOptions, network: Network) -> Result<(), Rejection> {
        if self.connections.available_permits() == 0 {
            return Err(no_room(options));
        }
        if self.rate.pass(network, Instant::now()).is_none() {
            let detail =
                format!("more than {} handshakes a second from {network}", options.max_handshake_rate);
            return Err(Rejection::new(Reason::HandshakeLimit, detail));
        }
        Ok(())
    }

    /// The system has no more room: who holds most of what is not known yet gives up some, more than one handshake since
    /// the honest stand in the same queue. Says which network lost the first one.
    fn make_room(&self) -> Option<Network> {
        let given_up = (0..ROOM_AT_ONCE).map_while(|_| self.handshakes.make_room());
        // All of them are given up, not only the one that is named.
        given_up.reduce(|first, _| first).or_else(|| self.unauthenticated.make_room())
    }

    /// A place for a connection whose handshake is over.
    fn open(&self, options: &ServerOptions) -> Result<OwnedSemaphorePermit, Rejection> {
        self.connections.clone().try_acquire_owned().map_err(|_| no_room(options))
    }
}

fn no_room(options: &ServerOptions) -> Rejection {
    Rejection::new(Reason::HandshakeLimit, format!("{} connections are open", options.max_connections))
}

/// Refuses a connection before anything was read from it.
fn refuse_unseen(shared: &Shared, tcp: &TcpStream, peer_addr: SocketAddr, rejection: &Rejection) {
    let id = ConnectionId::next();
    let refusal = handshake::Refused::from(rejection.clone());
    shared.record(&refused(shared, id, peer_addr, tcp.local_addr().ok(), &refusal, Duration::ZERO));
}

fn refused(
    shared: &Shared,
    id: ConnectionId,
    peer_addr: SocketAddr,
    local_addr: Option<SocketAddr>,
    refusal: &handshake::Refused,
    handshake: Duration,
) -> ConnectionRecord {
    let handshake::Refused { rejection, tls, .. } = refusal;
    let tls = tls.clone().unwrap_or_default();
    ConnectionRecord {
        id,
        at: shared.identity.clock().now(),
        peer_addr,
        local_addr,
        peer_id: rejection.peer().map(|peer| peer.spiffe_id().clone()),
        peer_serial: rejection.peer().map(|peer| peer.serial().to_owned()),
        presented: rejection.presented().cloned(),
        verdict: Verdict::Refused,
        reason: Some(rejection.reason()),
        detail: Some(rejection.detail().to_owned()),
        tls_version: tls.version,
        cipher: tls.cipher,
        group: tls.group,
        handshake,
        bundle_sequence: shared.bundle_sequence(),
    }
}

impl Shared {
    fn record(&self, record: &ConnectionRecord) {
        for observer in &self.observers {
            observer.connection(record);
        }
    }

    fn ended(&self, end: &ConnectionEnd) {
        for observer in &self.observers {
            observer.ended(end);
        }
    }

    fn request_refused(&self, refused: &RequestRefused<'_>) {
        for observer in &self.observers {
            observer.request_refused(refused);
        }
    }

    fn closed(&self, closed: &ConnectionClosed) {
        for observer in &self.observers {
            observer.closed(closed);
        }
    }

    /// Of the bundle of the own trust domain.
    fn bundle_sequence(&self) -> u64 {
        let snapshot = self.identity.snapshot();
        let own = snapshot.trust.bundles().get(snapshot.svid.spiffe_id().trust_domain());
        own.map_or(0, |bundle| bundle.sequence())
    }
}
