//! What is seen of servers that are good and of those that are not, and that nobody is told who looks without need.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use avouch_spiffe::Reason;
use avouch_time::clock;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::connect::tests::{H2, LEDGER, Place, Serving, World};
use super::super::progress::Step;
use super::*;
use crate::crypto;
use crate::trust::TrustStore;

const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\xc8";

fn of(address: SocketAddr) -> Examination {
    Examination::new(address.to_string().parse().unwrap(), clock::system())
}

/// As one who has the bundle of the world.
fn judging(world: &World, address: SocketAddr) -> Examination {
    let bundles = world.bundles.clone();
    of(address).roots(Arc::new(move |_: &[u8]| Some(TrustStore::new(bundles.clone()))))
}

async fn told(examination: Examination) -> ExaminedAddress {
    let mut examination = examination;
    examination.timeout = Duration::from_millis(1500);
    examination.run().await.outcome.expect("an address").told
}

#[tokio::test]
async fn every_step_to_a_good_server_shows_what_it_found_and_how_long_it_took() {
    let world = World::new();
    let serving = Serving::ledger(&world).await;
    let svid = world.identity("/reports").1.snapshot().svid.as_ref().clone();
    let expect = Some(LEDGER.parse().unwrap());
    let told = told(judging(&world, serving.address).expect(expect).present(Some(svid))).await;
    assert!(told.broken.is_none() && told.connect.is_some(), "{told:?}");
    let (_, tls) = told.tls.unwrap();
    assert_eq!((tls.version, tls.group.as_str()), ("TLSv1_3", "X25519MLKEM768"));
    assert_eq!((tls.suite.as_str(), tls.alpn.as_deref()), ("TLS13_AES_256_GCM_SHA384", Some(&b"h2"[..])));
    assert_eq!(told.verdict.unwrap().unwrap().spiffe_id().as_str(), LEDGER);
    assert_eq!(told.chain.unwrap().len(), 2);
    assert_eq!(told.client_certificate, ClientCertificate::Presented);
    assert!(!told.settings.unwrap().1.is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_judged_is_shown_nothing_and_said_to_be_unverified() {
    let world = World::new();
    let serving = Serving::ledger(&world).await;
    let svid = world.identity("/reports").1.snapshot().svid.as_ref().clone();
    let told = told(of(serving.address).present(Some(svid))).await;
    assert!(told.verdict.is_none() && told.chain.is_some());
    assert_eq!(told.client_certificate, ClientCertificate::Withheld);
    let broken = told.broken.unwrap();
    assert_eq!((broken.step, broken.reason), (Step::ClientCertificate, Reason::ClientCertMissing));
    let command = format!("avouch explain {} --at ", told.local.unwrap());
    assert!(broken.explain.unwrap().starts_with(&command));
}

/// Asks for a client certificate of the world, and notes whether one came before it went on.
async fn asking(world: &World, path: &str, came: Arc<AtomicBool>) -> Place {
    let provider = crypto::crypto_provider().clone();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.root().into()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let credentials = world.credentials(path);
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(credentials.chain, credentials.key)
        .unwrap();
    config.alpn_protocols.push(b"h2".to_vec());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    Place::doing(move |tcp| {
        let (acceptor, came) = (acceptor.clone(), came.clone());
        async move {
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                came.store(stream.get_ref().1.peer_certificates().is_some(), Ordering::SeqCst);
                let _ = stream.write_all(SETTINGS).await; // the client may be gone
                let _ = stream.flush().await;
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_judged_and_refused_never_sees_the_client_certificate() {
    let world = World::new();
    let svid = world.identity("/reports").1.snapshot().svid.as_ref().clone();
    let expect: Option<SpiffeId> = Some(LEDGER.parse().unwrap());
    for (path, verdict) in [("/orders", Some(Reason::ServerIdentityMismatch)), ("/ledger", None)] {
        let came = Arc::new(AtomicBool::new(false));
        let place = asking(&world, path, came.clone()).await;
        let examination = judging(&world, place.address).expect(expect.clone()).present(Some(svid.clone()));
        let told = told(examination).await;
        let refused = told.broken.as_ref().map(|broken| (broken.step, broken.reason));
        assert_eq!(refused, verdict.map(|reason| (Step::Verify, reason)), "{told:?}");
        assert_eq!(came.load(Ordering::SeqCst), verdict.is_none(), "{path}");
        if verdict.is_none() {
            assert_eq!(told.settings.unwrap().1, [Setting(3, 200)]);
        }
    }
}

#[tokio::test]
async fn each_way_to_be_no_good_has_its_step_and_its_reason() {
    let world = World::new();
    let right = world.credentials("/ledger");
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let http1: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let places = [
        (Place::closing().await, Step::ServerHello, Reason::PeerConnectionClosed),
        (Place::silent().await, Step::ServerHello, Reason::HandshakeTimeout),
        (Place::saying(&right, &[], b"").await, Step::ServerHello, Reason::NoApplicationProtocol),
        (Place::saying(&right, H2, http1).await, Step::Http2, Reason::NoApplicationProtocol),
        (Place::saying(&right, H2, b"").await, Step::Http2, Reason::HandshakeTimeout),
    ];
    let broken = told(of(free)).await.broken.unwrap();
    assert_eq!((broken.step, broken.reason), (Step::Connect, Reason::PeerConnectionClosed));
    assert!(broken.explain.is_none(), "nobody has a record of it: {broken:?}");
    for (place, step, reason) in places {
        let broken = told(judging(&world, place.address)).await.broken.unwrap();
        assert_eq!((broken.step, broken.reason), (step, reason), "{broken:?}");
    }
}

#[tokio::test]
async fn a_name_without_an_address_works_nowhere() {
    let examined = Examination::new("no-such-host.invalid:1".parse().unwrap(), clock::system()).run().await;
    let broken = examined.outcome.expect_err("no address");
    assert_eq!((broken.step, broken.reason), (Step::Resolve, Reason::PeerConnectionClosed));
    assert!(Looked::of(Vec::new()).is_none());
}

#[test]
fn settings_have_their_names() {
    assert_eq!(Setting(3, 200).to_string(), "MAX_CONCURRENT_STREAMS=200");
    assert_eq!(Setting(0x1234, 1).to_string(), "SETTING_4660=1");
}

#[tokio::test]
async fn the_address_that_is_told_of_is_the_first_good_one_else_the_weightiest_failure() {
    let world = World::new();
    let good = Serving::ledger(&world).await;
    let (closing, other) =
        (Place::closing().await, Place::saying(&world.credentials("/orders"), H2, b"").await);
    let expect: Option<SpiffeId> = Some(LEDGER.parse().unwrap());
    let svid = world.identity("/reports").1.snapshot().svid.as_ref().clone();
    let look = async |addresses: &[SocketAddr]| {
        let mut looked = Vec::new();
        for address in addresses {
            let examination = judging(&world, *address).expect(expect.clone()).present(Some(svid.clone()));
            let attempt = Arc::new(ConnectAttempt::new(Arc::new(examination.ours()), Some(*address)));
            looked.push(examination.look(attempt).await);
        }
        Looked::of(looked).unwrap()
    };
    let Looked { told, others } = look(&[closing.address, other.address, good.address]).await;
    assert_eq!((told.remote, others.len()), (good.address, 2));
    let Looked { told, .. } = look(&[closing.address, other.address]).await;
    assert_eq!(told.remote, other.address, "who is somebody else says more than who hangs up");
}
