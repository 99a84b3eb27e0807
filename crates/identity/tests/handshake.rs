//! Handshakes: who is let in, who is not, and that both ends say why.
#![allow(missing_docs, clippy::expect_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{Call, attempt};
use avouch_attacker::tls::Approach;
use avouch_identity::spiffe::Reason;
use avouch_identity::{IdentityFilter, Server, ServerOptions, Verdict, reason};
use support::{Ca, Running, channel, check, domain, id, leaf_params, now, serve, serve_with, year};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn server(ca: &Ca) -> (avouch_identity::Publisher, Running) {
    let (publisher, identity) = ca.identity("/server");
    (publisher, serve(identity, ServerOptions::default()).await)
}

#[tokio::test]
async fn a_call_is_made_over_tls_1_3_with_a_hybrid_key_exchange_by_a_verified_peer() {
    let ca = Ca::new();
    let (_publisher, running) = server(&ca).await;
    let (_client_publisher, client) = ca.identity("/client");
    check(&channel(&client, &running)).await.expect("an allowed call");
    let record = running.records.wait(|record| record.verdict == Verdict::Accepted).await;
    assert_eq!(record.tls_version, Some("TLSv1_3"));
    assert_eq!(record.group.as_deref(), Some("X25519MLKEM768"));
    assert_eq!(record.peer_id, Some(id("/client")));
}

#[tokio::test]
async fn a_handshake_over_memory_is_judged_as_one_over_a_socket() {
    let ca = Ca::new();
    let (_publisher, server) = ca.identity("/server");
    let (_client_publisher, client) = ca.identity("/client");
    let attempt = |admitted: &str, expected: &str| {
        let server_tls = server.server_tls(id(admitted).into()).expect("settings");
        let client_tls = client.client_tls(id(expected).into()).expect("settings");
        handshake_over_memory(client_tls, server_tls)
    };
    assert_eq!(attempt("/client", "/server"), Ok(Some(rustls::HandshakeKind::Full)));
    for (admitted, expected) in [("/other", "/server"), ("/client", "/other")] {
        let error = attempt(admitted, expected).expect_err("one end expects somebody else");
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error:?}");
    }
}

/// The first error of either end.
fn handshake_over_memory(
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
) -> Result<Option<rustls::HandshakeKind>, rustls::Error> {
    let name = "server.example".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(client, name)?;
    let mut server = rustls::ServerConnection::new(server)?;
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut wire).expect("memory takes all");
        server.read_tls(&mut wire.split_off(0).as_slice()).expect("room for a flight");
        server.process_new_packets()?;
        server.write_tls(&mut wire).expect("memory takes all");
        client.read_tls(&mut wire.split_off(0).as_slice()).expect("room for a flight");
        client.process_new_packets()?;
    }
    Ok(client.handshake_kind())
}

#[tokio::test]
async fn thirty_refusals_of_thirty_reach_the_caller_as_refusals_and_the_record_as_their_reason() {
    let ca = Ca::new();
    let other = Ca::new();
    let (_publisher, running) = server(&ca).await;
    // Trusts the server, but its own certificate is another CA's.
    let stranger =
        avouch_identity::Snapshot::new(other.svid(&id("/client"), Duration::from_secs(60)), ca.bundles());
    let (_stranger_publisher, stranger) = avouch_identity::Identity::publisher(stranger);
    for attempt in 0..30 {
        let status = check(&channel(&stranger, &running)).await.expect_err("a stranger is refused");
        assert_eq!(status.code(), tonic::Code::Unauthenticated, "attempt {attempt}: {status:?}");
        assert_eq!(reason(&status), Some(Reason::HandshakeRefused), "attempt {attempt}: {status:?}");
        assert!(status.message().contains("UnknownCA"), "{status:?}");
    }
    let records = running.records.all();
    assert_eq!(records.len(), 30);
    for record in records {
        assert_eq!(record.reason, Some(Reason::CertUntrusted), "{record:?}");
    }
}

#[tokio::test]
async fn a_caller_refuses_a_server_that_is_somebody_else() {
    let ca = Ca::new();
    let (_publisher, running) = server(&ca).await;
    let (_client_publisher, client) = ca.identity("/client");
    let channel = client.channel(&running.url(), id("/orders")).build().expect("a channel");
    let status = check(&channel).await.expect_err("the wrong server");
    assert_eq!(reason(&status), Some(Reason::ServerIdentityMismatch), "{status:?}");
    assert!(status.message().contains("expected spiffe://market.example/orders"), "{status:?}");
    assert!(status.message().contains("got spiffe://market.example/server"), "{status:?}");
}

#[tokio::test]
async fn an_identity_outside_the_filter_is_refused_by_name() {
    let ca = Ca::new();
    let (_publisher, identity) = ca.identity("/server");
    let running = serve_with(Server::new(identity, IdentityFilter::one_of([id("/orders")]))).await;
    let (_client_publisher, client) = ca.identity("/client");
    check(&channel(&client, &running)).await.expect_err("not on the list");
    let record = running.records.wait(|record| record.verdict == Verdict::Refused).await;
    assert_eq!(record.reason, Some(Reason::IdentityNotAdmitted));
    assert_eq!(record.peer_id, Some(id("/client")));
}

/// Somebody who shows whatever certificate, and believes any server.
async fn hostile(running: &Running, presented: Option<Presented>) {
    let credentials = presented.map(|(chain, key)| Credentials { chain, key });
    let approach = Approach::showing(credentials.as_ref());
    attempt(running.address, approach, &Call::default()).await.expect("an attempt");
}

type Presented = (Vec<rustls::pki_types::CertificateDer<'static>>, rustls::pki_types::PrivateKeyDer<'static>);

#[tokio::test]
async fn a_missing_intermediate_is_named_and_no_certificate_at_all_is_said_to_be_missing() {
    let ca = Ca::new();
    let (_publisher, running) = server(&ca).await;
    let (mut chain, key) = ca.sign(&leaf_params("spiffe://market.example/client", year()));
    chain.truncate(1);
    hostile(&running, Some((chain, key))).await;
    let record = running.records.wait(|record| record.reason == Some(Reason::ChainIncomplete)).await;
    assert!(record.detail.expect("a detail").contains("CN=test authority"));
    hostile(&running, None).await;
    running.records.wait(|record| record.reason == Some(Reason::ClientCertMissing)).await;
}

#[tokio::test]
async fn an_expired_intermediate_and_an_expired_root_are_told_apart_from_an_expired_leaf() {
    let past = now() - Duration::from_secs(7200)..now() - Duration::from_secs(60);
    let good = Ca::new();
    let (_publisher, identity) = good.identity("/server");
    for (lives, named) in
        [((year(), past.clone()), "intermediate certificate 1"), ((past, year()), "trust anchor")]
    {
        let ca = Ca::with_lives(lives.0, lives.1);
        let trusting =
            avouch_identity::Snapshot::new(good.svid(&id("/server"), Duration::from_secs(60)), ca.bundles());
        let (_trusting_publisher, trusting) = avouch_identity::Identity::publisher(trusting);
        let running = serve(trusting, ServerOptions::default()).await;
        hostile(&running, Some(ca.sign(&leaf_params("spiffe://market.example/client", year())))).await;
        let record = running.records.wait(|record| record.verdict == Verdict::Refused).await;
        assert_eq!(record.reason, Some(Reason::CertExpired), "{record:?}");
        assert!(record.detail.as_deref().unwrap_or_default().contains(named), "{record:?}");
    }
    drop(identity);
}

#[tokio::test]
async fn what_is_no_tls_and_what_is_slow_is_recorded_as_such() {
    let ca = Ca::new();
    let (_publisher, identity) = ca.identity("/server");
    let mut options = ServerOptions::default();
    options.handshake_timeout = Duration::from_millis(150);
    let running = serve(identity, options).await;
    let mut plain = TcpStream::connect(running.address).await.expect("a connection");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
    running.records.wait(|record| record.reason == Some(Reason::NotTls)).await;
    let silent = TcpStream::connect(running.address).await.expect("a connection");
    running.records.wait(|record| record.reason == Some(Reason::HandshakeTimeout)).await;
    drop(silent);
    drop(TcpStream::connect(running.address).await.expect("a connection"));
    running.records.wait(|record| record.reason == Some(Reason::PeerConnectionClosed)).await;
}

#[tokio::test]
async fn one_handshake_past_the_limit_is_refused_and_the_limit_itself_is_served() {
    let ca = Ca::new();
    let (_publisher, identity) = ca.identity("/server");
    let mut options = ServerOptions::default();
    options.max_handshakes = 2;
    let running = serve(identity, options).await;
    let (_client_publisher, client) = ca.identity("/client");
    let first = TcpStream::connect(running.address).await.expect("a connection");
    check(&channel(&client, &running)).await.expect("room for a second handshake");
    let second = TcpStream::connect(running.address).await.expect("a connection");
    let third = TcpStream::connect(running.address).await.expect("a connection");
    running.records.wait(|record| record.reason == Some(Reason::HandshakeLimit)).await;
    drop((first, second, third));
}

#[tokio::test]
async fn no_session_is_ever_resumed() {
    let ca = Ca::new();
    let (_publisher, running) = server(&ca).await;
    let (chain, key) = ca.sign(&leaf_params("spiffe://market.example/client", year()));
    let credentials = Credentials { chain, key };
    let config = avouch_attacker::tls::config(Approach::showing(Some(&credentials))).expect("a client");
    let connector = tokio_rustls::TlsConnector::from(config);
    for _ in 0..3 {
        let tcp = TcpStream::connect(running.address).await.expect("a connection");
        let mut stream =
            connector.connect("localhost".try_into().expect("a name"), tcp).await.expect("a handshake");
        let mut scratch = [0_u8; 256];
        assert!(stream.read(&mut scratch).await.expect("settings") > 0);
        let session = stream.get_ref().1;
        assert_ne!(session.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
    assert_eq!(
        running.records.all().iter().filter(|record| record.peer_id == Some(id("/client"))).count(),
        3
    );
}

#[tokio::test]
async fn the_filter_of_a_listener_is_no_union_of_trust_domains() {
    let ca = Ca::new();
    let (_publisher, identity) = ca.identity("/server");
    let other = "other.example".parse().expect("a trust domain");
    let running = serve_with(Server::new(identity, IdentityFilter::trust_domain(other))).await;
    let (_client_publisher, client) = ca.identity("/client");
    check(&channel(&client, &running)).await.expect_err("only other.example is admitted");
    assert!(
        !IdentityFilter::trust_domain(domain())
            .admits(&"spiffe://market.example.evil/x".parse().expect("an ID"))
    );
}
