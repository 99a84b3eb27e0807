//! A name with several addresses, some of which are no good: what a connection costs, where it leads, and what is said.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use avouch_attacker::certificates::Workshop;
use avouch_attacker::forge::Credentials;
use avouch_spiffe::{Bundle, BundleSet};
use avouch_testkit::log::Log;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::identity::{Identity, Publisher, Snapshot};
use crate::record::{ConnectionObserver, ConnectionRecord, Verdict};
use crate::server::{Server, ServerOptions};

pub(crate) const DOMAIN: &str = "market.example";
pub(crate) const LEDGER: &str = "spiffe://market.example/ledger";
const KEEPALIVE: Keepalive =
    Keepalive { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) };
const TIMEOUT: Duration = Duration::from_secs(3);

/// Who issues, and whom everybody trusts.
pub(crate) struct World {
    workshop: Workshop,
    pub(crate) bundles: BundleSet,
    bad: BadAddresses,
}

impl World {
    pub(crate) fn new() -> Self {
        let workshop = Workshop::new(DOMAIN, "/ledger").unwrap();
        let root = Bundle::from_ders(DOMAIN.parse().unwrap(), std::slice::from_ref(&workshop.root.der), 1);
        let bundles = [root.unwrap()].into_iter().collect();
        Self { workshop, bundles, bad: BadAddresses::default() }
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        self.workshop.root.der.clone()
    }

    pub(crate) fn credentials(&self, path: &str) -> Credentials {
        let id = format!("spiffe://{DOMAIN}{path}");
        let uris = avouch_attacker::forge::Extension::uris(&[&id]);
        self.workshop.leaf(|leaf| leaf.set(uris)).unwrap()
    }

    pub(crate) fn identity(&self, path: &str) -> (Publisher, Identity) {
        let Credentials { chain, key } = self.credentials(path);
        Identity::publisher(Snapshot::new(Svid::new(chain, &key).unwrap(), self.bundles.clone()))
    }

    async fn link(&self, addresses: &[SocketAddr]) -> Result<Http2Connection, ConnectFailure> {
        self.link_within(addresses, TIMEOUT).await
    }

    async fn link_within(
        &self,
        addresses: &[SocketAddr],
        timeout: Duration,
    ) -> Result<Http2Connection, ConnectFailure> {
        let (_publisher, client) = self.identity("/reports");
        let snapshot = client.snapshot();
        let address = "ledger.test:7001".parse().unwrap();
        let dial = Dial {
            address: &address,
            svid: Some(&snapshot.svid),
            trust: Trust::Store(snapshot.trust.clone()),
            own_domain: Some(DOMAIN.parse().unwrap()),
            filter: IdentityFilter::one_of([LEDGER.parse().unwrap()]),
            limits: ChainLimits::default(),
            clock: client.clock().clone(),
            difference: None,
            timeout,
            binding: None,
            bad_addresses: &self.bad,
            revocations: None,
        };
        let limit = Limit { timeout, until: Instant::now() + timeout };
        dial.connect_to(addresses.to_vec(), &Arc::new(dial.ours()), limit, KEEPALIVE).await
    }
}

/// Something that listens, and counts who came.
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    came: Arc<AtomicUsize>,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl Place {
    pub(crate) async fn doing<F>(does: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = came.clone();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(does(tcp));
            }
        });
        Self { address, came, _task: tokio_util::task::AbortOnDropHandle::new(task) }
    }

    /// A load balancer with nothing behind it.
    pub(crate) async fn closing() -> Self {
        Self::doing(|tcp| async move { drop(tcp) }).await
    }

    /// Takes TCP and never says a word.
    pub(crate) async fn silent() -> Self {
        Self::doing(
            |mut tcp| async move { while tcp.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} },
        )
        .await
    }

    /// A TLS server that shows these credentials and then does something.
    pub(crate) async fn tls<F>(
        credentials: &Credentials,
        alpn: &[&[u8]],
        does: impl Fn(tokio_rustls::server::TlsStream<TcpStream>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut config =
            rustls::ServerConfig::builder_with_provider(crate::crypto::crypto_provider().clone())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())
                .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::doing(move |tcp| {
            let (acceptor, does) = (acceptor.clone(), does.clone());
            async move {
                if let Ok(stream) = acceptor.accept(tcp).await {
                    does(stream).await;
                }
            }
        })
        .await
    }

    /// As a TLS server that says this and waits.
    pub(crate) async fn saying(credentials: &Credentials, alpn: &[&[u8]], what: &'static [u8]) -> Self {
        Self::tls(credentials, alpn, move |mut stream| async move {
            let _ = stream.write_all(what).await; // the client may be gone
            let _ = stream.flush().await;
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        })
        .await
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// A server of the workspace's own, and what it recorded.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    records: Arc<Records>,
    _publisher: Publisher,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Records(Mutex<Vec<ConnectionRecord>>);

impl ConnectionObserver for Records {
    fn connection(&self, record: &ConnectionRecord) {
        self.0.lock().unwrap().push(record.clone());
    }
}

impl Serving {
    pub(crate) async fn ledger(world: &World) -> Self {
        let (publisher, identity) = world.identity("/ledger");
        Self::of(publisher, identity).await
    }

    async fn of(publisher: Publisher, identity: Identity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_health, service) = tonic_health::server::health_reporter();
        let routes = tonic::service::Routes::new(service).prepare();
        let records = Arc::new(Records::default());
        let filter = IdentityFilter::trust_domain(DOMAIN.parse().unwrap());
        let server =
            Server::new(identity, filter).options(ServerOptions::default()).observer(records.clone());
        let task = tokio::spawn(async move {
            server.serve(listener, routes, std::future::pending()).await.unwrap();
        });
        let task = tokio_util::task::AbortOnDropHandle::new(task);
        Self { address, records, _publisher: publisher, _task: task }
    }
}

pub(crate) const H2: &[&[u8]] = &[b"h2"];
const HTTP1: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";

#[tokio::test]
async fn an_address_that_is_no_good_costs_a_moment_and_is_then_left_alone() {
    let world = World::new();
    let (right, other) = (world.credentials("/ledger"), world.credentials("/orders"));
    let stranger = Workshop::new(DOMAIN, "/ledger").unwrap().right().unwrap();
    let good = Serving::ledger(&world).await;
    let places = [
        ("accepts and closes", Place::closing().await),
        ("is silent after TCP", Place::silent().await),
        ("is a server of somebody else", Place::saying(&other, H2, b"").await),
        ("is an impostor", Place::saying(&stranger, H2, b"").await),
        ("does not agree on h2", Place::saying(&right, &[b"http/1.1"], HTTP1).await),
        ("agrees on h2 and speaks HTTP/1.1", Place::saying(&right, H2, HTTP1).await),
        ("agrees on h2 and is silent", Place::saying(&right, H2, b"").await),
    ];
    for (what, place) in places {
        let began = Instant::now();
        let link = world.link(&[place.address, good.address]).await.unwrap_or_else(|failure| {
            panic!("{what}: {:?}", failure.to_status());
        });
        // TLS and two delays, of the one that is silent behind it.
        assert!(began.elapsed() < TIMEOUT / 2, "{what}: {:?}", began.elapsed());
        assert_eq!(link.attempt.addresses().1, Some(good.address), "{what}");
        assert_eq!(link.attempt.peer().unwrap().spiffe_id().as_str(), LEDGER, "{what}");
        assert_eq!(place.came(), 1, "{what}");
        world.link(&[place.address, good.address]).await.unwrap();
        assert_eq!(place.came(), 1, "{what}: it was tried again");
    }
}

#[tokio::test]
async fn an_address_that_was_bad_and_is_all_there_is_is_used_as_soon_as_it_is_good() {
    let world = World::new();
    let good = Serving::ledger(&world).await;
    world.bad.failed(good.address, "it was down".to_owned());
    let closed = Place::closing().await;
    world.link(&[closed.address, good.address]).await.unwrap();
    assert_eq!(world.bad.order(vec![closed.address, good.address]), [good.address, closed.address]);
}

#[tokio::test]
async fn when_no_address_is_good_each_is_named_with_what_happened_there() {
    let world = World::new();
    let stranger = Workshop::new(DOMAIN, "/ledger").unwrap().right().unwrap();
    let (closing, impostor) = (Place::closing().await, Place::saying(&stranger, H2, b"").await);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failure = world.link(&[free, closing.address, impostor.address]).await.err().unwrap();
    let status = failure.to_status();
    assert_eq!(crate::status::reason(&status), Some(Reason::CertUntrusted), "{status:?}");
    for part in [
        format!("{}: the server's certificate was refused", impostor.address),
        format!("{}: PEER_CONNECTION_CLOSED: the connection broke during the handshake", closing.address),
        format!("{free}: PEER_CONNECTION_CLOSED: cannot connect: nobody listens on {free}"),
        format!("[connection to ledger.test:7001 at {} from 127.0.0.1:", impostor.address),
    ] {
        assert!(status.message().contains(&part), "{part} is not in {status:?}");
    }
    let local = failure.attempt.addresses().0.unwrap();
    assert!(status.message().contains(&format!("`avouch explain {local} --at ")), "{status:?}");
}

#[tokio::test]
async fn nothing_that_is_not_verified_is_taken_because_nothing_else_is_there() {
    let world = World::new();
    let right = world.credentials("/ledger");
    let stranger = Workshop::new(DOMAIN, "/ledger").unwrap().right().unwrap();
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let impostor = Place::saying(&stranger, H2, settings).await;
    let other = Place::saying(&world.credentials("/orders"), H2, settings).await;
    for _ in 0..3 {
        let failure = world.link(&[impostor.address, other.address]).await.err().unwrap();
        assert!(failure.is_impostor() && !failure.is_retryable(), "{:?}", failure.to_status());
    }
    let same = Place::saying(&right, H2, settings).await;
    world.link(&[impostor.address, other.address, same.address]).await.expect("the right one among them");
}

#[tokio::test]
async fn a_refusal_of_the_server_itself_is_not_hidden_behind_a_dead_address_and_leads_to_its_record() {
    let world = World::new();
    // Shows a certificate that is right, and trusts an authority that is not ours.
    let Credentials { chain, key } = world.credentials("/ledger");
    let foreign = World::new().bundles;
    let (publisher, refusing) = Identity::publisher(Snapshot::new(Svid::new(chain, &key).unwrap(), foreign));
    let refusing = Serving::of(publisher, refusing).await;
    let (silent, closing) = (Place::silent().await, Place::closing().await);
    for addresses in [
        [refusing.address, silent.address, closing.address],
        [silent.address, closing.address, refusing.address],
    ] {
        let began = Instant::now();
        let failure = world.link(&addresses).await.err().unwrap();
        assert!(began.elapsed() < TIMEOUT * 2 / 3, "it hangs on the dead address: {:?}", began.elapsed());
        assert_eq!(failure.reason, Reason::HandshakeRefused, "{:?}", failure.to_status());
        assert!(failure.is_verdict() && !failure.is_retryable());
        let local = failure.attempt.addresses().0.unwrap();
        let records = refusing.records.0.lock().unwrap();
        let record = records.iter().find(|record| record.peer_addr == local).expect("its record");
        assert_eq!((record.verdict, record.reason), (Verdict::Refused, Some(Reason::CertUntrusted)));
    }
}

#[tokio::test]
async fn a_server_that_waits_for_the_client_to_speak_first_is_spoken_to() {
    let world = World::new();
    let late = Place::tls(&world.credentials("/ledger"), H2, |mut stream| async move {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        stream.write_all(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\xc8").await.unwrap();
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let link =
        world.link(&[late.address]).await.unwrap_or_else(|failure| panic!("{:?}", failure.to_status()));
    assert_eq!(link.attempt.settings(), Some(&[(3, 200)][..]));
}

#[tokio::test]
async fn a_server_without_http_2_is_no_connection_although_its_certificate_is_right() {
    let world = World::new();
    let right = world.credentials("/ledger");
    let odd = Place::saying(&right, H2, HTTP1).await;
    let failure = world.link(&[odd.address]).await.err().unwrap();
    assert_eq!((failure.step, failure.reason), (Step::Http2, Reason::NoApplicationProtocol));
    let mute = Place::saying(&right, H2, b"").await;
    let timeout = Duration::from_millis(900);
    let failure = world.link_within(&[mute.address], timeout).await.err().unwrap();
    assert_eq!((failure.step, failure.reason), (Step::Http2, Reason::HandshakeTimeout));
    let message = failure.to_status().message().to_owned();
    assert!(message.contains("within 900ms: TLS is up, and no SETTINGS"), "{message}");
    let gone = Place::tls(&right, H2, |mut stream| async move {
        let _ = stream.shutdown().await;
    })
    .await;
    let failure = world.link(&[gone.address]).await.err().unwrap();
    assert_eq!((failure.step, failure.reason), (Step::Http2, Reason::PeerConnectionClosed));
}

#[tokio::test]
async fn an_impostor_at_one_address_is_warned_of_once_although_another_address_is_good() {
    let (log, _guard) = Log::of_thread();
    let world = World::new();
    let good = Serving::ledger(&world).await;
    let impostor = Place::saying(&world.credentials("/orders"), H2, b"").await;
    let again = Place::closing().await;
    world.link(&[impostor.address, good.address]).await.unwrap();
    let text = log.text();
    let warning = text.lines().find(|line| line.contains("WARN")).unwrap_or_default();
    for part in
        ["SERVER_IDENTITY_MISMATCH", &impostor.address.to_string(), "expected spiffe://", "ledger.test"]
    {
        assert!(warning.contains(part), "{part} is not in {text}");
    }
    // It is met again as soon as no other address is good, and its pause is not what silences the warning.
    world.bad.failed(good.address, String::new());
    world.link(&[again.address, impostor.address, good.address]).await.unwrap();
    assert_eq!(impostor.came(), 2, "the impostor was met again");
    let text = log.text();
    assert_eq!(text.lines().filter(|line| line.contains("WARN")).count(), 1, "{text}");
}
