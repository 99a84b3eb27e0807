//! Handshakes: who is let in, who is not, and that both ends say why.
#![allow(missing_docs, clippy::expect_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use avouch_identity::spiffe::Reason;
use avouch_identity::{IdentityFilter, Server, ServerOptions, Verdict, reason};
use rcgen::{IsCa, KeyUsagePurpose, SanType};
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

/// A raw TLS client with whatever certificate, for what our own client would not do.
async fn hostile(
    running: &Running,
    presented: Option<(
        Vec<rustls::pki_types::CertificateDer<'static>>,
        rustls::pki_types::PrivateKeyDer<'static>,
    )>,
) -> rustls::ClientConnection {
    let config = rustls::ClientConfig::builder_with_provider(avouch_identity::crypto_provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match presented {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("a client certificate"),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols.push(b"h2".to_vec());
    let name = "localhost".try_into().expect("a name");
    let tcp = TcpStream::connect(running.address).await.expect("a connection");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = match connector.connect(name, tcp).await {
        Ok(stream) => stream,
        Err(_refused) => {
            let name = "localhost".try_into().expect("a name");
            return rustls::ClientConnection::new(connector.config().clone(), name).expect("a connection");
        }
    };
    let mut scratch = [0_u8; 64];
    let _ = stream.read(&mut scratch).await;
    stream.into_inner().1
}

#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        avouch_identity::crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn each_bad_client_certificate_is_refused_with_its_own_reason() {
    let ca = Ca::new();
    let (_publisher, running) = server(&ca).await;
    let uri = "spiffe://market.example/client";
    let hour = Duration::from_secs(3600);
    let sign = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf_params(uri, year());
        change(&mut params);
        ca.sign(&params)
    };
    let cases: Vec<(&str, Reason, &str, _)> = vec![
        (
            "expired",
            Reason::CertExpired,
            "leaf certificate",
            sign(&|params| {
                params.not_before = (now() - 2 * hour).into();
                params.not_after = (now() - hour).into();
            }),
        ),
        (
            "not yet valid",
            Reason::CertNotYetValid,
            "leaf certificate",
            sign(&|params| {
                params.not_before = (now() + hour).into();
                params.not_after = (now() + 2 * hour).into();
            }),
        ),
        (
            "two URI SANs",
            Reason::SvidInvalid,
            "",
            sign(&|params| {
                params
                    .subject_alt_names
                    .push(SanType::URI("spiffe://market.example/two".try_into().expect("ascii")));
            }),
        ),
        (
            "no SPIFFE ID",
            Reason::SvidInvalid,
            "",
            sign(&|params| {
                params.subject_alt_names = vec![SanType::DnsName("client".try_into().expect("ascii"))];
            }),
        ),
        (
            "an ID without a path",
            Reason::SvidInvalid,
            "",
            sign(&|params| {
                params.subject_alt_names =
                    vec![SanType::URI("spiffe://market.example".try_into().expect("ascii"))];
            }),
        ),
        (
            "a foreign trust domain",
            Reason::TrustDomainUnknown,
            "other.example",
            sign(&|params| {
                params.subject_alt_names =
                    vec![SanType::URI("spiffe://other.example/a".try_into().expect("ascii"))];
            }),
        ),
        (
            "a CA as leaf",
            Reason::SvidInvalid,
            "4.1",
            sign(&|params| {
                params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }),
        ),
        (
            "a leaf that may sign certificates",
            Reason::SvidInvalid,
            "",
            sign(&|params| {
                params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            }),
        ),
        (
            "a leaf for servers only",
            Reason::CertPurposeInvalid,
            "",
            sign(&|params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
    ];
    for (what, expected, detail, presented) in cases {
        let seen = running.records.all().len();
        hostile(&running, Some(presented)).await;
        running.records.wait(|_| running.records.all().len() > seen).await;
        let record = running.records.all().pop().expect("a record");
        assert_eq!(record.verdict, Verdict::Refused, "{what}");
        assert_eq!(record.reason, Some(expected), "{what}: {record:?}");
        assert!(record.detail.as_deref().unwrap_or_default().contains(detail), "{what}: {record:?}");
    }
}

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
    // The client keeps sessions and would resume if it were given a ticket.
    let mut config = rustls::ClientConfig::builder_with_provider(avouch_identity::crypto_provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(chain, key)
        .expect("a client certificate");
    config.alpn_protocols.push(b"h2".to_vec());
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
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
async fn a_client_without_h2_in_alpn_is_refused() {
    let ca = Ca::new();
    let (_publisher, running) = server(&ca).await;
    let (chain, key) = ca.sign(&leaf_params("spiffe://market.example/client", year()));
    let config = rustls::ClientConfig::builder_with_provider(avouch_identity::crypto_provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(chain, key)
        .expect("a client certificate");
    let tcp = TcpStream::connect(running.address).await.expect("a connection");
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect("localhost".try_into().expect("a name"), tcp)
        .await;
    running.records.wait(|record| record.reason == Some(Reason::NoApplicationProtocol)).await;
    drop(stream);
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
