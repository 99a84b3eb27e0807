//! A server that anybody may try to connect to, what it has on record, and callers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use avouch_api::issuer::v1::BeginRecoveryRequest;
use avouch_api::issuer::v1::issuer_client::IssuerClient;
use avouch_attacker::certificates::{ATTACKS, Workshop};
use avouch_attacker::forge::Credentials;
use avouch_identity::{
    ConnectionEnd, ConnectionObserver, ConnectionRecord, Identity, IdentityFilter, Publisher, Server,
    ServerOptions, Snapshot, Svid,
};
use avouch_spiffe::{Bundle, BundleSet, SpiffeId};
use avouch_time::clock::{Clock, SystemClock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic_types::StatusExt;

pub(crate) const DOMAIN: &str = "market.example";
/// How often a refusal of a handshake is produced: it races with resets.
pub(crate) const TIMES: usize = 30;
/// How far the two sides' ideas of when it happened may be apart.
const APART: Duration = Duration::from_secs(10);

pub(crate) fn id(path: &str) -> SpiffeId {
    format!("spiffe://{DOMAIN}{path}").parse().unwrap()
}

/// Every record, and when it was made.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<Vec<(SystemTime, ConnectionRecord)>>);

impl ConnectionObserver for Records {
    fn connection(&self, record: &ConnectionRecord) {
        self.0.lock().unwrap().push((SystemClock.now(), record.clone()));
    }

    fn ended(&self, _: &ConnectionEnd) {}
}

impl Records {
    pub(crate) fn all(&self) -> Vec<ConnectionRecord> {
        self.0.lock().unwrap().iter().map(|(_, record)| record.clone()).collect()
    }

    /// The record that an address and a time lead to. A port may be used again, though hardly within seconds: what lies
    /// further away than the nearest is another connection's.
    pub(crate) async fn near(&self, address: SocketAddr, at: SystemTime) -> ConnectionRecord {
        let apart = |then: SystemTime| then.duration_since(at).unwrap_or_else(|earlier| earlier.duration());
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let all = self.0.lock().unwrap().clone();
            let of_the_address = all.iter().filter(|(_, record)| record.peer_addr == address);
            let nearest = of_the_address.min_by_key(|(then, _)| apart(*then));
            if let Some((then, record)) = nearest {
                assert!(apart(*then) < APART, "{:?} apart: {record:?}", apart(*then));
                return record.clone();
            }
            assert!(tokio::time::Instant::now() < deadline, "{address} leads nowhere: {all:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The record of a connection that has just ended.
    pub(crate) async fn latest(&self, address: SocketAddr) -> ConnectionRecord {
        self.near(address, SystemClock.now()).await
    }
}

/// A server whose answers never end.
pub(crate) struct Place {
    pub(crate) workshop: Workshop,
    pub(crate) address: SocketAddr,
    pub(crate) records: Arc<Records>,
    pub(crate) stop: CancellationToken,
    _serving: JoinHandle<()>,
    _publisher: Publisher,
}

impl Place {
    pub(crate) async fn new(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let filter = IdentityFilter::trust_domain(DOMAIN.parse().unwrap());
        Self::with(filter, change, |server| server, Silent).await
    }

    pub(crate) async fn with<S, R>(
        filter: IdentityFilter,
        change: impl FnOnce(&mut ServerOptions),
        configure: impl FnOnce(Server) -> Server,
        service: S,
    ) -> Self
    where
        S: tower::Service<
                http::Request<avouch_identity::RequestBody>,
                Response = http::Response<R>,
                Error = Infallible,
                Future: Send,
            > + Clone
            + Send
            + 'static,
        R: http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        Self::trusting(None, filter, change, configure, service).await
    }

    /// As above, of a server that holds the bundle of another trust domain too.
    pub(crate) async fn trusting<S, R>(
        foreign: Option<&Workshop>,
        filter: IdentityFilter,
        change: impl FnOnce(&mut ServerOptions),
        configure: impl FnOnce(Server) -> Server,
        service: S,
    ) -> Self
    where
        S: tower::Service<
                http::Request<avouch_identity::RequestBody>,
                Response = http::Response<R>,
                Error = Infallible,
                Future: Send,
            > + Clone
            + Send
            + 'static,
        R: http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        let workshop = Workshop::new(DOMAIN, "/payments").unwrap();
        let (publisher, identity) = identity(&workshop, workshop_leaf(&workshop, "/server"));
        if let Some(foreign) = foreign {
            let mut bundles = bundles(&workshop);
            bundles.insert(bundle(foreign));
            publisher.update(bundles);
        }
        let mut options = ServerOptions::default();
        change(&mut options);
        let (records, stop) = (Arc::new(Records::default()), CancellationToken::new());
        let server = configure(Server::new(identity, filter).options(options)).observer(records.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            server.serve(listener, service, stopped).await.unwrap();
        });
        Self { workshop, address, records, stop, _serving: serving, _publisher: publisher }
    }

    /// What one failed attempt of one of our channels says.
    pub(crate) async fn attempt(&self, client: &Identity, expect: &str) -> Told {
        Told::of(attempt(client, self.address, expect, Duration::from_secs(20)).await)
    }
}

/// One call on a channel of its own; there is nobody who would answer it.
pub(crate) async fn attempt(
    client: &Identity,
    address: SocketAddr,
    expect: &str,
    connect_timeout: Duration,
) -> Status {
    let channel = client
        .channel(&format!("https://{address}"), id(expect))
        .connect_timeout(connect_timeout)
        .ready_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let call = IssuerClient::new(channel).begin_recovery(BeginRecoveryRequest {}).await;
    call.expect_err("nobody answers here")
}

/// What a client's one error line says, as a person would read it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: Status,
    /// From the command it names.
    pub(crate) local: SocketAddr,
    at: SystemTime,
}

impl Told {
    pub(crate) fn of(status: Status) -> Self {
        let message = status.message().to_owned();
        assert!(!message.contains('\n') && message.len() < 2_000, "{message}");
        let command = message.split('`').find(|part| part.starts_with("avouch explain "));
        let words: Vec<_> = command.unwrap_or_else(|| panic!("no command: {message}")).split(' ').collect();
        let ["avouch", "explain", address, "--at", seconds] = words[..] else { panic!("{words:?}") };
        let metadata = status.get_details_error_info().unwrap().metadata;
        assert_eq!((metadata["client_address"].as_str(), metadata["unix_time"].as_str()), (address, seconds));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.parse().unwrap());
        Self { local: address.parse().unwrap(), at, status }
    }

    pub(crate) fn metadata(&self, key: &str) -> String {
        let info = self.status.get_details_error_info().unwrap();
        info.metadata.get(key).cloned().unwrap_or_default()
    }

    /// The server's record, found as the command finds it.
    pub(crate) async fn record(&self, records: &Records) -> ConnectionRecord {
        records.near(self.local, self.at).await
    }
}

/// An identity that shows these credentials and trusts the workshop's root.
pub(crate) fn identity(workshop: &Workshop, shown: Credentials) -> (Publisher, Identity) {
    let Credentials { chain, key } = shown;
    Identity::publisher(Snapshot::new(Svid::new(chain, &key).expect("an SVID"), bundles(workshop)))
}

fn bundle(workshop: &Workshop) -> Bundle {
    Bundle::from_ders(workshop.trust_domain.parse().unwrap(), &[&workshop.root.der], 7).unwrap()
}

/// The workshop's root, as the bundle of its trust domain with the sequence number 7.
pub(crate) fn bundles(workshop: &Workshop) -> BundleSet {
    let mut bundles = BundleSet::new();
    bundles.insert(bundle(workshop));
    bundles
}

/// Good credentials for a path.
pub(crate) fn workshop_leaf(workshop: &Workshop, path: &str) -> Credentials {
    let uri = id(path).to_string();
    workshop.leaf(|leaf| leaf.set(avouch_attacker::forge::Extension::uris(&[&uri]))).unwrap()
}

/// What the attacker's list has under this name.
pub(crate) fn forged(workshop: &Workshop, name: &str) -> Credentials {
    let attack = ATTACKS.iter().find(|attack| attack.name == name).expect(name);
    (attack.forge)(workshop).unwrap()
}

/// Begins to answer every call, and never gets on with it.
#[derive(Clone, Debug)]
pub(crate) struct Silent;

impl tower::Service<http::Request<avouch_identity::RequestBody>> for Silent {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<avouch_identity::RequestBody>) -> Self::Future {
        let answer = http::Response::builder().header("content-type", "application/grpc");
        Box::pin(std::future::ready(Ok(answer.body(Body::new(Endless)).unwrap())))
    }
}

struct Endless;

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        Poll::Pending
    }
}
