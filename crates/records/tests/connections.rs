//! Real connections, from several addresses of this machine: who is recorded, with what, and who cannot hide whom.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_api::observe::v1::{Connection, Filter};
use avouch_authz::Methods;
use avouch_identity::spiffe::{Bundle, BundleSet};
use avouch_identity::{Identity, IdentityFilter, Publisher, Server, Snapshot, Svid};
use avouch_records::{Matcher, Recorder, RecordsConfig, alb};
use avouch_testkit::ca::{ca_params, leaf_params, year};
use rcgen::{DnType, Issuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

struct Ca {
    root: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name, year());
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { root, issuer: Issuer::new(params, key) }
    }

    /// A workload of this authority that trusts the authority `trusts`.
    fn identity(&self, name: &str, subject: &str, trusts: &Self) -> (Publisher, Identity) {
        let mut params = leaf_params(&format!("spiffe://shop.example/{name}"), year());
        params.distinguished_name.push(DnType::CommonName, subject);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut bundles = BundleSet::new();
        bundles.insert(Bundle::from_ders("shop.example".parse().unwrap(), &[&trusts.root], 7).unwrap());
        Identity::publisher(Snapshot::new(Svid::new(vec![leaf], &key).unwrap(), bundles))
    }
}

struct World {
    ca: Ca,
    recorder: Recorder,
    address: SocketAddr,
    _publisher: Publisher,
}

async fn world(keep: usize) -> World {
    let ca = Ca::new("root");
    let (publisher, identity) = ca.identity("server", "", &ca);
    let recorder = Recorder::builder(RecordsConfig { keep, file: None }, Methods::new(&[]).unwrap());
    let recorder = recorder.start().unwrap();
    let filter = IdentityFilter::trust_domain("shop.example".parse().unwrap());
    let server = Server::new(identity, filter).observer(Arc::new(recorder.clone()));
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
    let (_, health) = tonic_health::server::health_reporter();
    let service = tonic::service::Routes::new(health).prepare();
    tokio::spawn(async move { server.serve(listener, service, std::future::pending()).await });
    World { ca, recorder, address, _publisher: publisher }
}

impl World {
    /// Something that is not TLS, from this address; to its end.
    async fn garbage(&self, from: [u8; 4]) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let mut tcp = socket.connect(self.address).await.unwrap();
        // The server may be gone before it is all said.
        let _ = tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    }

    fn seen(&self, about: &str) -> Vec<Connection> {
        let filter = Filter { refused_only: false, about: about.to_owned() };
        let records = self.recorder.list(&Matcher::from(&filter), usize::MAX);
        records.into_iter().filter_map(|record| record.connection).collect()
    }

    /// Records appear when the server is done, which may be after its peer is.
    async fn until(&self, what: &str, about: &str, fits: impl Fn(&[Connection]) -> bool) -> Vec<Connection> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let seen = self.seen(about);
            if fits(&seen) {
                return seen;
            }
            assert!(Instant::now() < deadline, "never happened: {what}; {seen:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_flood_from_one_network_is_a_few_records_that_say_how_many_there_were_and_hides_no_other() {
    let world = world(40).await;
    world.garbage([127, 0, 0, 3]).await;
    world.until("the quiet one is on record", "127.0.0.3", |seen| seen.len() == 1).await;
    for _ in 0..400 {
        world.garbage([127, 0, 0, 2]).await;
    }
    let flood = world.until("the flood is on record", "127.0.0.2", |seen| seen.len() == 39).await;
    assert!(flood.iter().all(|seen| seen.reason == "NOT_TLS" && seen.verdict == "refused"), "{flood:?}");
    let quiet = world.seen("127.0.0.3");
    assert_eq!((quiet.len(), quiet[0].reason.as_str()), (1, "NOT_TLS"));
    assert!(quiet[0].local_address.ends_with(&format!(":{}", world.address.port())), "{quiet:?}");
    assert!(alb::line(&quiet[0]).contains(" Failed:UnmappedConnectionError "), "{}", alb::line(&quiet[0]));
    // One more is recorded after a while, and says how many were not.
    let mut sent = 400;
    let told = loop {
        world.garbage([127, 0, 0, 2]).await;
        sent += 1;
        let last = world.seen("127.0.0.2").pop().unwrap();
        if last.suppressed > 0 {
            break last.suppressed;
        }
        assert!(sent < 4_000, "never told: {last:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!((330..=sent - 60).contains(&told), "{told} of {sent}");
}

#[tokio::test]
async fn a_refused_peer_is_on_record_with_what_its_certificate_claims() {
    let world = world(10).await;
    let other = Ca::new("other");
    let (_publisher, stranger) = other.identity("orders", "Mallory", &world.ca);
    let expected: avouch_identity::spiffe::SpiffeId = "spiffe://shop.example/server".parse().unwrap();
    let channel = stranger.channel(&format!("https://{}", world.address), expected).build().unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap_err();
    let about = "spiffe://shop.example/orders";
    let seen = world.until("the refusal is on record", about, |seen| !seen.is_empty()).await;
    let refused = &seen[0];
    assert_eq!((refused.verdict.as_str(), refused.reason.as_str()), ("refused", "CHAIN_INCOMPLETE"));
    assert_eq!((refused.peer_id.as_str(), refused.peer_subject.as_str()), (about, "CN=Mallory"));
    assert_eq!((refused.tls_version.as_str(), refused.bundle_sequence), ("TLSv1_3", 7));
    assert!(!refused.peer_serial.is_empty() && refused.peer_not_before < refused.peer_not_after);
    assert_eq!(world.seen(&refused.peer_serial).len(), seen.len());
    let line = alb::line(refused);
    assert!(
        line.contains("\"CN=Mallory\" NotBefore=") && line.contains(" Failed:ClientCertUntrusted "),
        "{line}"
    );
}

#[tokio::test]
async fn an_accepted_connection_is_on_record_at_once_and_then_with_its_end() {
    let world = world(10).await;
    let (_publisher, client) = world.ca.identity("client", "", &world.ca);
    let expected: avouch_identity::spiffe::SpiffeId = "spiffe://shop.example/server".parse().unwrap();
    let channel = client.channel(&format!("https://{}", world.address), expected).build().unwrap();
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let about = "spiffe://shop.example/client";
    let open = world.seen(about);
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].verdict.as_str(), open[0].ended_at.as_str()), ("accepted", ""));
    assert_eq!((open[0].group.as_str(), open[0].reason.as_str()), ("X25519MLKEM768", ""));
    let loopback = open[0].peer_address.parse::<SocketAddr>().unwrap().ip();
    assert_eq!(loopback, IpAddr::from([127, 0, 0, 1]));
    assert!(alb::line(&open[0]).contains(" Success conn-"), "{}", alb::line(&open[0]));
    drop(channel);
    let ended = world.until("the end is on record", about, |seen| !seen[0].ended_at.is_empty()).await;
    assert_eq!((ended.len(), ended[0].id.as_str()), (1, open[0].id.as_str()));
    assert_eq!(ended[0].end_reason, "", "nobody did anything wrong");
}
