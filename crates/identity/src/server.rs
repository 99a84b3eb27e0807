//! The accept loop: mutual TLS with rotating identities, for a tonic service.
//!
//! tonic's own server cannot rotate certificates, verify SPIFFE IDs or say why a handshake failed. This one does, and
//! hands every call to the service with the caller's [`PeerIdentity`](avouch_spiffe::PeerIdentity) in its extensions; a
//! request that is no gRPC call is answered before. One record per attempt goes to the observers. There is no
//! constructor without an identity filter.
//!
//! Connections that are not authenticated yet are bounded in number, time and bytes, and shared out by source network,
//! so that no network locks out the others: see [`ServerOptions`].

mod abuse;
mod attempt_records;
mod connection;
mod driver;
mod gate;
mod handshake;
mod lifetime;
mod limited_stream;
mod options;
mod overload_response;
mod request;
mod request_body;
mod response_body;
mod send_backlog;
mod shared;
mod shares;
mod state;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use avouch_limits::Network;
use avouch_spiffe::Reason;
use avouch_spiffe::contract::MethodRule;
use bytes::Bytes;
use http_body::Body;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tower_service::Service;

pub use options::ServerOptions;
pub use request_body::RequestBody;
pub use shares::{Holder, Resource, ShareExceeded, Shares, Usage};

use self::attempt_records::Attempt;
use self::connection::AcceptedSocket;
use self::gate::Gate;
use self::shared::{Shared, Signals, watch_clock, watch_identity};
use crate::filter::IdentityFilter;
use crate::http_rules::Serves;
use crate::identity::Identity;
use crate::listen::{Accepted, Acceptor, Share};
use crate::method_set::{MethodSet, REFLECTION};
use crate::record::{ConnectionObserver, LogObserver};
use crate::tls::TlsParameters;
use crate::verify::Rejection;

/// The error of a listener that has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The listening socket failed for good.
    #[error("the listening socket failed")]
    Listener(#[source] std::io::Error),
}

/// The result of draining a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections open when shutdown began.
    pub open_at_shutdown: usize,
    /// Connections that had to be closed when the grace was over.
    pub cut: usize,
    /// The time that draining took.
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

impl Server {
    /// A server with this identity that admits the callers of `filter`.
    pub fn new(identity: Identity, filter: IdentityFilter) -> Self {
        let options = ServerOptions::default();
        let mut client_streams = MethodSet::default();
        // Reflection has no contract of ours, so `methods` never names it; its methods stream.
        client_streams.add(REFLECTION);
        let shared = Shared {
            identity,
            filter,
            shares: Shares::new(&options),
            options,
            optional_client_certificate: false,
            serves: Serves::Grpc,
            binding: None,
            client_streams,
            observers: vec![Arc::new(LogObserver::default())],
            open: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
        };
        Self { shared }
    }

    /// Sets limits and times. Values above what tokio, hyper or h2 accept are clamped.
    #[must_use]
    pub fn options(mut self, options: ServerOptions) -> Self {
        self.shared.options = options.without_panics();
        self.shared.shares = Shares::new(&self.shared.options);
        self
    }

    /// Tells which methods are client-streaming, by the contracts of what is served. Their requests may last as long as
    /// the client likes; all others must be complete within [`ServerOptions::request_timeout`]. A method that is not named
    /// counts as not client-streaming.
    #[must_use]
    pub fn methods<'a>(mut self, methods: impl IntoIterator<Item = &'a MethodRule>) -> Self {
        let streams = methods.into_iter().filter(|method| method.client_streaming).map(|method| method.path);
        self.shared.client_streams.add(streams);
        self
    }

    /// The shares of this listener: who holds how much of it, now and while it serves. Call it after
    /// [`Server::options`], which begins with new ones.
    #[must_use]
    pub fn shares(&self) -> Shares {
        self.shared.shares.clone()
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

    /// The TLS parameters that the server offers in a handshake.
    #[must_use]
    pub fn tls_parameters(&self) -> TlsParameters {
        TlsParameters::ours()
    }

    /// Whether the server admits callers without a certificate.
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
        S: Service<http::Request<RequestBody>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shared = Arc::new(self.shared);
        let gate = Gate::new(&shared);
        let acceptor = Acceptor::new("mutual TLS", Share::Many);
        let signals = watch::Sender::new(Signals::default());
        let watching = watch_clock(shared.identity.clock().clone(), signals.clone());
        let _watching = AbortOnDropHandle::new(tokio::spawn(watching));
        let following = watch_identity(shared.identity.subscribe(), signals.clone());
        let _following = AbortOnDropHandle::new(tokio::spawn(following));
        let tasks = TaskTracker::new();
        tokio::pin!(shutdown);
        let outcome = loop {
            let accepted = tokio::select! {
                // The shutdown first: under a flood there is always one more connection to accept.
                biased;
                () = &mut shutdown => break Ok(()),
                accepted = acceptor.accept(&listener, || gate.make_room()) => accepted,
            };
            let (tcp, peer_addr) = match accepted {
                Ok(Accepted::Connection(tcp, peer_addr)) => (tcp, peer_addr),
                Ok(Accepted::Refused(tcp, peer_addr, shortage)) => {
                    let rejection = Rejection::new(Reason::HandshakeLimit, shortage.to_string());
                    Attempt::begin(&tcp, peer_addr).rejected(&shared, &rejection.into());
                    continue;
                }
                Ok(Accepted::Nothing) => continue,
                Err(error) => break Err(ServerError::Listener(error)),
            };
            let network = Network::from(peer_addr.ip());
            if let Err(rejection) = gate.check(&shared.options, network) {
                Attempt::begin(&tcp, peer_addr).rejected(&shared, &rejection.into());
                continue;
            }
            let socket = AcceptedSocket::new(tcp, peer_addr, network, &gate);
            tasks.spawn(connection::run(shared.clone(), socket, service.clone(), signals.subscribe()));
        };
        drop(listener);
        let drained = drain(&shared, &signals, &tasks).await;
        outcome.map(|()| drained)
    }
}

/// Retires every connection, and waits until all are closed.
async fn drain(shared: &Shared, signals: &watch::Sender<Signals>, tasks: &TaskTracker) -> Drained {
    let began = Instant::now();
    let open_at_shutdown = shared.open.load(Ordering::Relaxed);
    signals.send_modify(|signals| signals.draining = true);
    tasks.close();
    tasks.wait().await;
    Drained { open_at_shutdown, cut: shared.cut.load(Ordering::Relaxed), took: began.elapsed() }
}
