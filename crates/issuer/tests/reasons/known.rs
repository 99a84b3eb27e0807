//! What our channel knows by itself: it refuses the server, or the server is none, or the alert has one meaning. Where
//! the server is ours it has a record of it, to which the message leads; else nobody has, and the message is all there is.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use avouch_attacker::certificates::Workshop;
use avouch_attacker::forge::{Credentials, Extension};
use avouch_identity::{
    Identity, IdentityConfig, IdentityError, IdentityFilter, IssuerConfig, Publisher, Server, Snapshot, Svid,
    Verdict, reason,
};
use avouch_spiffe::{JoinToken, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::place::{DOMAIN, Place, Silent, TIMES, Told, attempt, bundles, id, identity, workshop_leaf};

type Producing = Pin<Box<dyn Future<Output = Vec<Told>> + Send>>;

pub(crate) struct Row {
    pub(crate) reason: Reason,
    situation: &'static str,
    code: Code,
    produce: fn() -> Producing,
    /// What the message names.
    says: &'static [&'static str],
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        reason: Reason::ServerIdentityMismatch,
        situation: "a good server, and another one is meant",
        code: Code::Unauthenticated,
        produce: || Box::pin(somebody_else()),
        says: &["expected spiffe://market.example/orders", "got spiffe://market.example/server"],
    },
    Row {
        reason: Reason::HandshakeRefused,
        situation: "an alert of many meanings",
        code: Code::Unauthenticated,
        produce: || Box::pin(not_admitted()),
        says: &["the server refused the handshake", "alert AccessDenied"],
    },
    Row {
        reason: Reason::HandshakeRefused,
        situation: "by the server's clock our SVID has expired, by ours not",
        code: Code::Unauthenticated,
        produce: || Box::pin(server_ahead()),
        says: &["a clock is off", "alert CertificateExpired", "is valid for another 59 min"],
    },
    Row {
        reason: Reason::ClientCertMissing,
        situation: "who enrols has no certificate yet, and meets a server that asks for one",
        code: Code::Unauthenticated,
        produce: || Box::pin(enrolling()),
        says: &["the server requires a client certificate", "we showed no certificate"],
    },
    Row {
        reason: Reason::HandshakeLimit,
        situation: "the server has no room for the holder of most",
        code: Code::Unavailable,
        produce: || Box::pin(no_room()),
        says: &["the server turned us away: 0 of 0 connections are in use"],
    },
    Row {
        reason: Reason::ConnectionRetiring,
        situation: "a call is open when its connection retires",
        code: Code::Unavailable,
        produce: || Box::pin(retired()),
        says: &["CONNECTION_RETIRING"],
    },
    Row {
        reason: Reason::NotTls,
        situation: "the server speaks plain HTTP",
        code: Code::Unauthenticated,
        produce: || Box::pin(facing(PATIENT, |tcp| Box::pin(says(tcp, b"HTTP/1.1 400 Bad Request\r\n\r\n")))),
        says: &["TLS is spoken here"],
    },
    Row {
        reason: Reason::ProtocolVersionUnsupported,
        situation: "the server speaks another version",
        code: Code::Unauthenticated,
        produce: || Box::pin(facing(PATIENT, |tcp| Box::pin(says(tcp, &[21, 3, 3, 0, 2, 2, 70])))),
        says: &["does not speak TLS 1.3", "alert ProtocolVersion"],
    },
    Row {
        reason: Reason::NoApplicationProtocol,
        situation: "the server speaks no HTTP/2",
        code: Code::Unauthenticated,
        produce: || Box::pin(facing(PATIENT, |tcp| Box::pin(says(tcp, &[21, 3, 3, 0, 2, 2, 120])))),
        says: &["does not speak h2", "alert NoApplicationProtocol"],
    },
    Row {
        reason: Reason::HandshakeTimeout,
        situation: "the server keeps silent",
        code: Code::Unavailable,
        produce: || Box::pin(facing(Duration::from_millis(1500), |tcp| Box::pin(waits(tcp)))),
        says: &["no accepted connection within 1.5s"],
    },
    Row {
        reason: Reason::PeerConnectionClosed,
        situation: "the server goes",
        code: Code::Unavailable,
        produce: || Box::pin(facing(PATIENT, |tcp| Box::pin(goes(tcp)))),
        says: &["during the handshake"],
    },
];

async fn somebody_else() -> Vec<Told> {
    let place = Place::new(|_| {}).await;
    let (_publisher, client) = identity(&place.workshop, place.workshop.right().unwrap());
    let mut all = Vec::new();
    for _ in 0..TIMES {
        let told = place.attempt(&client, "/orders").await;
        let record = told.record(&place.records).await;
        assert_eq!(record.reason, Some(Reason::HandshakeRefused), "the client refused it: {record:?}");
        assert!(record.detail.as_deref().unwrap_or_default().contains("BadCertificate"), "{record:?}");
        all.push(told);
    }
    all
}

async fn not_admitted() -> Vec<Told> {
    let filter = IdentityFilter::one_of([id("/orders")]);
    let place = Place::with(filter, |_| {}, |server| server, Silent).await;
    let (_publisher, client) = identity(&place.workshop, place.workshop.right().unwrap());
    let mut all = Vec::new();
    for _ in 0..TIMES {
        let told = place.attempt(&client, "/server").await;
        let record = told.record(&place.records).await;
        assert_eq!(record.reason, Some(Reason::IdentityNotAdmitted), "{record:?}");
        assert_eq!(record.peer_id, Some(id("/payments")));
        assert_eq!(record.peer_serial.as_deref(), Some(told.metadata("own_serial").as_str()));
        all.push(told);
    }
    all
}

/// The server's certificate lasts, and by its clock the client's has ended.
async fn server_ahead() -> Vec<Told> {
    use avouch_time::clock::{Clock, ManualClock, SystemClock};
    let place = Place::new(|_| {}).await;
    let ahead = ManualClock::new(SystemClock.now() + Duration::from_secs(2 * 3600));
    let workshop = &place.workshop;
    let lasting = workshop.leaf(|leaf| {
        leaf.set(Extension::uris(&[id("/server").as_str()]));
        leaf.not_after = workshop.now + 8 * 3600;
    });
    let Credentials { chain, key } = lasting.unwrap();
    let snapshot = Snapshot::new(Svid::new(chain, &key).unwrap(), bundles(workshop));
    let (_server_publisher, server) = Identity::publisher_with_clock(snapshot, ahead.shared());
    let records = Arc::new(crate::place::Records::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(server, IdentityFilter::trust_domain(DOMAIN.parse().unwrap()));
    let serving = server.observer(records.clone()).serve(listener, Silent, std::future::pending());
    let serving = tokio::spawn(serving);
    let brief = workshop.leaf(|leaf| leaf.not_after = workshop.now + 3600).unwrap();
    let (_publisher, client) = identity(workshop, brief);
    let mut all = Vec::new();
    for _ in 0..TIMES {
        let told = Told::of(attempt(&client, address, "/server", PATIENT).await);
        let record = told.record(&records).await;
        assert_eq!(record.reason, Some(Reason::CertExpired), "{record:?}");
        assert!(record.detail.as_deref().unwrap_or_default().contains("expired 60 min ago"), "{record:?}");
        all.push(told);
    }
    serving.abort();
    all
}

/// An issuer in name, whose listener asks everybody for a certificate.
async fn enrolling() -> Vec<Told> {
    let workshop = Workshop::new(DOMAIN, "/avouch/issuer").unwrap();
    let shown = workshop_leaf(&workshop, "/avouch/issuer");
    let chain = shown.chain.into_iter().chain([workshop.root.der.clone().into()]).collect();
    let snapshot = Snapshot::new(Svid::new(chain, &shown.key).unwrap(), bundles(&workshop));
    let (_publisher, issuer) = Identity::publisher(snapshot);
    let records = Arc::new(crate::place::Records::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(issuer, IdentityFilter::trust_domain(DOMAIN.parse().unwrap()));
    let serving = server.observer(records.clone()).serve(listener, Silent, std::future::pending());
    let serving = tokio::spawn(serving);
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let mut all = Vec::new();
    for _ in 0..TIMES {
        write_token(&token, &workshop);
        let status = enroll(address, &token).await;
        let told = Told::of(status);
        let record = told.record(&records).await;
        assert_eq!(record.reason, Some(Reason::ClientCertMissing), "{record:?}");
        all.push(told);
    }
    serving.abort();
    all
}

fn write_token(path: &Path, workshop: &Workshop) {
    let pin = avouch_spiffe::x509::Authority::parse(&workshop.root.der).unwrap().sha256();
    let token = JoinToken::new("A".repeat(43), id("/avouch/issuer"), vec![pin]).unwrap();
    std::fs::write(path, token.encode()).unwrap();
}

async fn enroll(address: SocketAddr, token: &Path) -> Status {
    let config = IssuerConfig {
        address: address.to_string(),
        state_dir: None,
        join_token_file: Some(token.to_owned()),
        addresses: Vec::new(),
        timeout: Duration::from_secs(3),
    };
    match Identity::start(IdentityConfig::Issuer(config)).await {
        Err(IdentityError::Refused { status, .. }) => *status,
        other => panic!("{other:?}"),
    }
}

async fn no_room() -> Vec<Told> {
    let place = Place::new(|options| options.max_connections = 0).await;
    let (_publisher, client) = identity(&place.workshop, place.workshop.right().unwrap());
    // At once: each is patient, and comes again meanwhile.
    let mut attempts = JoinSet::new();
    for _ in 0..TIMES {
        let (client, address) = (client.clone(), place.address);
        attempts.spawn(async move { attempt(&client, address, "/server", PATIENT).await });
    }
    let all: Vec<Told> = attempts.join_all().await.into_iter().map(Told::of).collect();
    for told in &all {
        let record = told.record(&place.records).await;
        assert_eq!(record.reason, Some(Reason::HandshakeLimit), "{record:?}");
    }
    all
}

/// Nothing was refused here: a connection that both sides have on record ends under a call.
async fn retired() -> Vec<Told> {
    let place = Place::new(|options| {
        options.max_connection_age = Duration::from_millis(100);
        options.retirement_grace = Duration::from_secs(3);
    })
    .await;
    let (_publisher, client) = identity(&place.workshop, place.workshop.right().unwrap());
    let mut calls = JoinSet::new();
    for _ in 0..TIMES {
        let (client, address) = (client.clone(), place.address);
        calls.spawn(async move { attempt(&client, address, "/server", PATIENT).await });
    }
    for status in calls.join_all().await {
        let told = (reason(&status), status.code());
        assert_eq!(told, (Some(Reason::ConnectionRetiring), Code::Unavailable), "{status:?}");
    }
    // Who was asked to go came again for what had not been begun: connections there may be more than calls.
    let accepted = place.records.all().into_iter().filter(|it| it.verdict == Verdict::Accepted).count();
    assert!(accepted >= TIMES, "{accepted}");
    Vec::new()
}

/// Longer than anything takes that ends by itself.
const PATIENT: Duration = Duration::from_secs(20);

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Our channel before a server that is none of ours; it must have heard of the address the message names.
async fn facing(connect_timeout: Duration, serve: fn(TcpStream) -> Serving) -> Vec<Told> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        while let Ok((tcp, peer)) = listener.accept().await {
            heard.send(peer).unwrap();
            tokio::spawn(serve(tcp));
        }
    });
    let workshop = Workshop::new(DOMAIN, "/payments").unwrap();
    let (_publisher, client) = identity(&workshop, workshop.right().unwrap());
    let mut attempts = JoinSet::new();
    for _ in 0..TIMES {
        let client = client.clone();
        attempts.spawn(async move { attempt(&client, address, "/server", connect_timeout).await });
    }
    let all: Vec<Told> = attempts.join_all().await.into_iter().map(Told::of).collect();
    serving.abort();
    let mut known = Vec::new();
    while let Ok(peer) = peers.try_recv() {
        known.push(peer);
    }
    assert!(all.iter().all(|told| known.contains(&told.local)), "{all:?}");
    all
}

async fn says(mut tcp: TcpStream, what: &'static [u8]) {
    // Answers what it was sent, and closes without a reset.
    let _ = tcp.read(&mut [0; 8192]).await;
    let _ = tcp.write_all(what).await;
    let _ = tcp.shutdown().await;
    while tcp.read(&mut [0; 8192]).await.is_ok_and(|read| read > 0) {}
}

async fn waits(mut tcp: TcpStream) {
    while tcp.read(&mut [0; 8192]).await.is_ok_and(|read| read > 0) {}
}

async fn goes(mut tcp: TcpStream) {
    let _ = tcp.read(&mut [0; 8192]).await;
    let _ = tcp.shutdown().await;
}

async fn produce(row: &'static Row) {
    for told in (row.produce)().await {
        let (status, situation) = (&told.status, row.situation);
        assert_eq!((reason(status), status.code()), (Some(row.reason), row.code), "{situation}: {status:?}");
        for part in row.says {
            assert!(status.message().contains(part), "{situation}: {part:?} not in {:?}", status.message());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_knows_it_says_thirty_times_of_thirty() {
    let rows: JoinSet<()> = ROWS.iter().map(produce).collect();
    rows.join_all().await;
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_record_to_look_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let workshop = Workshop::new(DOMAIN, "/payments").unwrap();
    let (_publisher, client): (Publisher, Identity) = identity(&workshop, workshop.right().unwrap());
    let status = attempt(&client, address, "/server", PATIENT).await;
    assert_eq!((reason(&status), status.code()), (Some(Reason::PeerConnectionClosed), Code::Unavailable));
    let message = status.message();
    assert!(message.contains("cannot connect") && message.contains("`avouch check`"), "{message}");
    assert!(!message.contains("explain") && message.contains(&address.to_string()), "{message}");
}

/// What the source measured of the issuer's clock.
#[derive(Debug, Default)]
struct Measured(std::sync::Mutex<Vec<i64>>);

impl avouch_identity::IdentityObserver for Measured {
    fn event(&self, event: &avouch_identity::IdentityEvent) {
        if let avouch_identity::IdentityEvent::Clock { difference } = event {
            self.0.lock().unwrap().push(difference.ahead_millis);
        }
    }
}

#[tokio::test]
async fn a_client_says_how_far_its_clock_is_from_the_issuers_which_said_so_twice() {
    use avouch_time::clock::{Clock, ManualClock};
    let world = crate::harness::World::with(|config| config.svid_ttl = Some(Duration::from_secs(60))).await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let ours = crate::harness::ORDERS;
    std::fs::write(&token, world.invited(ours).await.encode()).unwrap();
    let clock = ManualClock::new(world.clock.now() + Duration::from_secs(5));
    let measured = Arc::new(Measured::default());
    let starter = Identity::starter(IdentityConfig::Issuer(IssuerConfig {
        address: world.address.to_string(),
        state_dir: None,
        join_token_file: Some(token),
        addresses: Vec::new(),
        timeout: Duration::from_secs(5),
    }));
    let client = starter.clock(clock.shared()).observer(measured.clone()).start().await.unwrap();
    assert_eq!(client.clock_difference().unwrap().ahead_millis, 5_000, "with the SVID");
    crate::harness::eventually("a measurement on the trust stream", async || {
        (measured.0.lock().unwrap().as_slice() == [5_000, 5_000]).then_some(())
    })
    .await;

    let place = Place::new(|_| {}).await;
    clock.advance(Duration::from_secs(1));
    let told = place.attempt(&client, "/server").await;
    let message = told.status.message();
    assert_eq!(reason(&told.status), Some(Reason::CertUntrusted), "it has the issuer's bundle: {message}");
    assert!(
        message.contains("our clock is 5 s ahead of the issuer's; our bundle has the sequence number 1"),
        "{message}"
    );
    assert_eq!(told.metadata("own_clock_ahead_millis"), "5000");
    assert_eq!(told.metadata("own_spiffe_id"), ours);
    let record = place.records.latest(told.local).await;
    assert_eq!(record.reason, Some(Reason::HandshakeRefused), "{record:?}");
}

/// A server so busy that it judges late: by then its client has taken its silence for consent, and made its call.
#[derive(Debug)]
struct Busy;

impl avouch_time::clock::Clock for Busy {
    fn now(&self) -> std::time::SystemTime {
        std::thread::sleep(Duration::from_millis(800));
        avouch_time::clock::SystemClock.now()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refusal_that_comes_after_the_call_was_sent_is_a_refusal_all_the_same() {
    let workshop = Workshop::new(DOMAIN, "/payments").unwrap();
    let Credentials { chain, key } = workshop_leaf(&workshop, "/server");
    let snapshot = Snapshot::new(Svid::new(chain, &key).unwrap(), bundles(&workshop));
    let (_server_publisher, server) = Identity::publisher_with_clock(snapshot, Arc::new(Busy));
    let records = Arc::new(crate::place::Records::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(server, IdentityFilter::one_of([id("/orders")])).observer(records.clone());
    let serving = tokio::spawn(server.serve(listener, Silent, std::future::pending()));
    let (_publisher, client) = identity(&workshop, workshop.right().unwrap());
    for _ in 0..3 {
        let told = Told::of(attempt(&client, address, "/server", PATIENT).await);
        assert_eq!(reason(&told.status), Some(Reason::HandshakeRefused), "{:?}", told.status);
        assert!(told.status.message().contains("alert AccessDenied"), "{:?}", told.status);
        let record = told.record(&records).await;
        assert_eq!(record.reason, Some(Reason::IdentityNotAdmitted), "{record:?}");
        assert!(record.handshake >= Duration::from_millis(800), "{record:?}");
    }
    serving.abort();
}
