//! A server, an honest client and a hostile one.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use avouch_attacker::floods::Peer;
use avouch_attacker::forge::Credentials;
use avouch_attacker::tls::{self, Approach, Connection};
use avouch_identity::spiffe::Reason;
use avouch_identity::{Identity, IdentityFilter, Publisher, RequestBody, Server, ServerOptions, Shares};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;

use crate::support::{Ca, Records, channel, check, domain, leaf_params, serve_with, year};
use crate::support::{Running, id};

pub(crate) const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Long enough for anything that is going to happen.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// A server, and who calls it.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) client: Identity,
    stolen: Credentials,
    _publishers: [Publisher; 2],
}

pub(crate) fn options(change: impl FnOnce(&mut ServerOptions)) -> ServerOptions {
    let mut options = ServerOptions::default();
    change(&mut options);
    options
}

impl World {
    pub(crate) async fn new(change: impl FnOnce(&mut ServerOptions)) -> Self {
        Self::with(change, |server| server).await
    }

    /// Like the issuer's listener.
    pub(crate) async fn open(change: impl FnOnce(&mut ServerOptions)) -> Self {
        Self::with(change, Server::optional_client_certificate).await
    }

    /// One whose filter does not admit the stolen identity.
    pub(crate) async fn quarantining(change: impl FnOnce(&mut ServerOptions)) -> Self {
        Self::filtering(IdentityFilter::one_of([id("/client")]), change, |server| server).await
    }

    pub(crate) async fn with(
        change: impl FnOnce(&mut ServerOptions),
        configure: impl FnOnce(Server) -> Server,
    ) -> Self {
        Self::filtering(IdentityFilter::trust_domain(domain()), change, configure).await
    }

    async fn filtering(
        filter: IdentityFilter,
        change: impl FnOnce(&mut ServerOptions),
        configure: impl FnOnce(Server) -> Server,
    ) -> Self {
        let ca = Ca::new();
        let (server_publisher, server) = ca.identity("/server");
        let (client_publisher, client) = ca.identity("/client");
        let (chain, key) = ca.sign(&leaf_params("spiffe://market.example/stolen", year()));
        let server = Server::new(server, filter).options(options(change));
        let running = serve_with(configure(server)).await;
        let stolen = Credentials { chain, key };
        Self { running, client, stolen, _publishers: [server_publisher, client_publisher] }
    }

    /// A real certificate and its key, in the wrong hands.
    pub(crate) fn stolen(&self) -> Credentials {
        Credentials { chain: self.stolen.chain.clone(), key: self.stolen.key.clone_key() }
    }

    pub(crate) fn target(&self) -> SocketAddr {
        self.running.address
    }

    pub(crate) fn records(&self) -> &Arc<Records> {
        &self.running.records
    }

    /// How many attempts were refused for want of room, from this address.
    pub(crate) fn refused(&self, from: IpAddr) -> usize {
        let refused = |reason| reason == Some(Reason::HandshakeLimit);
        self.records().all().iter().filter(|r| refused(r.reason) && r.peer_addr.ip() == from).count()
    }

    /// One honest call on a connection of its own.
    pub(crate) async fn call_anew(&self) -> Result<(), Status> {
        check(&channel(&self.client, &self.running)).await
    }

    /// A hostile connection; with an identity if it stole one.
    pub(crate) async fn connect(&self, with_identity: bool) -> Connection {
        connect(self.target(), with_identity.then_some(&self.stolen)).await
    }

    pub(crate) async fn peer(&self) -> Peer {
        Peer::start(self.connect(true).await).await
    }
}

pub(crate) async fn connect(target: SocketAddr, credentials: Option<&Credentials>) -> Connection {
    let tcp = tls::socket(target, Some(ELSEWHERE)).await.expect("a connection");
    tls::handshake(tcp, Approach::showing(credentials)).await.expect("a handshake")
}

/// `/test/Refuse` refuses, `/test/Hang` never answers and reads nothing, `/test/Large` answers without end in large pieces
/// and `/test/Small` in small ones, anything else is answered with OK.
#[derive(Clone, Debug, Default)]
pub(crate) struct Test {
    /// Calls being worked on.
    pub(crate) working: Arc<AtomicUsize>,
    /// Requests that got here.
    pub(crate) reached: Arc<AtomicUsize>,
}

struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl tower_service::Service<http::Request<RequestBody>> for Test {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        self.reached.fetch_add(1, Ordering::SeqCst);
        self.working.fetch_add(1, Ordering::SeqCst);
        let working = Working(Arc::clone(&self.working));
        Box::pin(async move {
            let _working = working;
            Ok(match request.uri().path() {
                "/test/Hang" => std::future::pending().await,
                "/test/Refuse" => Status::resource_exhausted("no").into_http(),
                "/test/Large" => endless(64 * 1024),
                "/test/Small" => endless(2 * 1024),
                _ => Status::ok("yes").into_http(),
            })
        })
    }
}

/// Pieces of one size, as fast as they are taken.
fn endless(octets: usize) -> http::Response<Body> {
    let piece = move || {
        let frame = http_body::Frame::data(bytes::Bytes::from(vec![0; octets]));
        Some(Ok::<_, Infallible>(frame))
    };
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(std::iter::from_fn(piece)));
    let mut response = http::Response::new(Body::new(body));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    response
}

/// A server of [`Test`].
pub(crate) struct TestServer {
    pub(crate) target: SocketAddr,
    pub(crate) records: Arc<Records>,
    pub(crate) service: Test,
    pub(crate) shares: Shares,
    pub(crate) stolen: Credentials,
    honest: Credentials,
    _publisher: Publisher,
}

impl TestServer {
    pub(crate) async fn new(change: impl FnOnce(&mut ServerOptions)) -> Self {
        Self::with(change, |server| server).await
    }

    /// Like the storefront's ingress: HTTP/1.1 and HTTP/2, and no gRPC.
    pub(crate) async fn ingress() -> Self {
        Self::with(|_| {}, Server::allow_http1).await
    }

    async fn with(change: impl FnOnce(&mut ServerOptions), configure: impl FnOnce(Server) -> Server) -> Self {
        let ca = Ca::new();
        let (publisher, identity) = ca.identity("/server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let target = listener.local_addr().expect("an address");
        let (records, service) = (Arc::new(Records::default()), Test::default());
        let server = Server::new(identity, IdentityFilter::one_of([id("/stolen"), id("/honest")]))
            .options(options(change))
            .optional_client_certificate()
            .observer(records.clone());
        let shares = server.shares();
        tokio::spawn(configure(server).serve(listener, service.clone(), std::future::pending()));
        let (chain, key) = ca.sign(&leaf_params("spiffe://market.example/stolen", year()));
        let stolen = Credentials { chain, key };
        let (chain, key) = ca.sign(&leaf_params("spiffe://market.example/honest", year()));
        let honest = Credentials { chain, key };
        Self { target, records, service, shares, stolen, honest, _publisher: publisher }
    }

    /// Somebody else, from this machine's own address.
    pub(crate) async fn honest(&self) -> Peer {
        let tcp = tls::socket(self.target, Some(Ipv4Addr::LOCALHOST.into())).await.expect("a connection");
        let connection = tls::handshake(tcp, Approach::showing(Some(&self.honest))).await;
        Peer::start(connection.expect("a handshake")).await
    }

    pub(crate) async fn peer(&self, with_identity: bool) -> Peer {
        Peer::start(connect(self.target, with_identity.then_some(&self.stolen)).await).await
    }
}
