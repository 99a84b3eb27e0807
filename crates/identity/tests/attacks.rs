//! Every certificate of the attacker's list, shown to a server by a client and to a client by a server: each is
//! refused for exactly the reason it has to be refused for, and the same certificate without its fault is taken.
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::net::SocketAddr;

use avouch_attacker::certificates::{ATTACKS, Workshop};
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{Attempt, Call, Outcome, attempt, attempt_in_plaintext};
use avouch_attacker::hello::{Hello, STRANGE_GROUPS, STRANGE_SUITES, TLS_1_2};
use avouch_attacker::impostor::Impostor;
use avouch_attacker::tls::Approach;
use avouch_identity::spiffe::x509::sha256;
use avouch_identity::spiffe::{
    Bundle, BundleSet, Generation, Reason, Revocation, RevocationKey, Revocations, TrustState,
};
use avouch_identity::{
    ConnectionRecord, Identity, Publisher, ServerOptions, Snapshot, Svid, Verdict, reason,
};
use support::{DOMAIN, Running, check, domain, id, serve};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;

const CHECK: Call<'static> = Call { path: "/grpc.health.v1.Health/Check", message: Vec::new(), headers: &[] };

/// An identity of the workshop's trust domain, which trusts the workshop's root.
fn identity(workshop: &Workshop, path: &str) -> (Publisher, Identity) {
    let bundle = Bundle::from_ders(domain(), std::slice::from_ref(&workshop.root.der), 1).expect("a bundle");
    let mut bundles = BundleSet::new();
    bundles.insert(bundle);
    let uri = id(path).to_string();
    let made = workshop.leaf(|leaf| leaf.set(avouch_attacker::forge::Extension::uris(&[&uri])));
    let Credentials { chain, key } = made.expect("credentials");
    Identity::publisher(Snapshot::new(Svid::new(chain, &key).expect("an SVID"), bundles))
}

async fn target() -> (Workshop, Publisher, Running) {
    let workshop = Workshop::new(DOMAIN, "/payments").expect("a workshop");
    let (publisher, identity) = identity(&workshop, "/server");
    (workshop, publisher, serve(identity, ServerOptions::default()).await)
}

async fn record_of(running: &Running, local: SocketAddr) -> ConnectionRecord {
    running.records.wait(|record| record.peer_addr == local).await
}

async fn show(running: &Running, credentials: Option<&Credentials>) -> Attempt {
    attempt(running.address, Approach::showing(credentials), &CHECK).await.expect("an attempt")
}

/// Refused, and never a word of HTTP.
fn refused(attempt: &Attempt, what: &str) {
    assert!(matches!(attempt.outcome, Outcome::Disconnected { .. }), "{what}: {attempt:?}");
}

#[tokio::test]
async fn every_bad_client_certificate_is_refused_for_its_own_reason_and_the_right_one_is_taken() {
    let (workshop, _publisher, running) = target().await;
    let right = show(&running, Some(&workshop.right().expect("credentials"))).await;
    assert!(right.outcome.got_through(), "{right:?}");
    let mut wrong = Vec::new();
    for attack in ATTACKS {
        let credentials = (attack.forge)(&workshop).expect(attack.name);
        let attempt = show(&running, Some(&credentials)).await;
        refused(&attempt, attack.name);
        let record = record_of(&running, attempt.local).await;
        let said = record.reason.map(Reason::as_str).unwrap_or_default();
        let detail = record.detail.as_deref().unwrap_or_default();
        if record.verdict != Verdict::Refused || said != attack.reason || !detail.contains(attack.names) {
            wrong
                .push(format!("{}: {} {:?}, but {said}: {detail}", attack.name, attack.reason, attack.names));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_bad_server_certificate_is_refused_by_the_client_for_its_own_reason() {
    let workshop = Workshop::new(DOMAIN, "/payments").expect("a workshop");
    let (_publisher, client) = identity(&workshop, "/client");
    let mut wrong = Vec::new();
    for attack in ATTACKS {
        let credentials = (attack.forge)(&workshop).expect(attack.name);
        let impostor = Impostor::showing(&credentials).await.expect(attack.name);
        let url = format!("https://{}", impostor.address);
        let channel = client.channel(&url, id("/payments")).build().expect("a channel");
        let status = check(&channel).await.expect_err(attack.name);
        let said = reason(&status).map(Reason::as_str).unwrap_or_default();
        if said != attack.reason || !status.message().contains(attack.names) {
            wrong.push(format!(
                "{}: {} {:?}, but {said}: {status:?}",
                attack.name, attack.reason, attack.names
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Revokes the key alone, in what the publisher's identity trusts.
fn revoke(publisher: &Publisher, identity: &Identity, key: RevocationKey) {
    let since = Generation { epoch: 1, counter: 1 };
    let ends_at = identity.clock().now() + std::time::Duration::from_secs(3_600);
    let revocations = Revocations::new([Revocation { key, since, ends_at, proof: [0; 16] }]).expect("one");
    let bundles = identity.snapshot().trust.bundles().clone();
    publisher.update(TrustState { generation: since, bundles, revocations: revocations.into() });
}

/// The keys that stand against what a workshop makes for `/payments`, with the reason of each.
fn revoked(workshop: &Workshop) -> [(RevocationKey, &'static str); 2] {
    let root = sha256(&workshop.root.der);
    [
        (RevocationKey::identity(&id("/payments")), "IDENTITY_REVOKED"),
        (RevocationKey::root(&domain(), &root), "CERT_REVOKED"),
    ]
}

#[tokio::test]
async fn a_good_certificate_that_has_been_revoked_is_refused_from_a_client_with_its_record() {
    for at in 0..2 {
        let workshop = Workshop::new(DOMAIN, "/payments").expect("a workshop");
        let (publisher, identity) = identity(&workshop, "/server");
        let running = serve(identity.clone(), ServerOptions::default()).await;
        let (key, expected) = revoked(&workshop)[at];
        revoke(&publisher, &identity, key);
        let attempt = show(&running, Some(&workshop.right().expect("credentials"))).await;
        refused(&attempt, expected);
        let record = record_of(&running, attempt.local).await;
        assert_eq!(record.reason.map(Reason::as_str), Some(expected), "{record:?}");
    }
}

#[tokio::test]
async fn a_good_certificate_that_has_been_revoked_is_refused_from_a_server() {
    for at in 0..2 {
        let workshop = Workshop::new(DOMAIN, "/payments").expect("a workshop");
        let (publisher, client) = identity(&workshop, "/client");
        let (key, expected) = revoked(&workshop)[at];
        revoke(&publisher, &client, key);
        let impostor = Impostor::showing(&workshop.right().expect("credentials")).await.expect("a server");
        let url = format!("https://{}", impostor.address);
        let channel = client.channel(&url, id("/payments")).build().expect("a channel");
        let status = check(&channel).await.expect_err(expected);
        assert_eq!(reason(&status).map(Reason::as_str), Some(expected), "{status:?}");
    }
}

#[tokio::test]
async fn a_server_with_a_good_certificate_of_somebody_else_is_refused_by_name() {
    let workshop = Workshop::new(DOMAIN, "/orders").expect("a workshop");
    let (_publisher, client) = identity(&workshop, "/client");
    let impostor = Impostor::showing(&workshop.right().expect("credentials")).await.expect("a server");
    let url = format!("https://{}", impostor.address);
    let channel = client.channel(&url, id("/payments")).build().expect("a channel");
    let status = check(&channel).await.expect_err("somebody else");
    assert_eq!(reason(&status), Some(Reason::ServerIdentityMismatch), "{status:?}");
    for part in ["expected spiffe://market.example/payments", "got spiffe://market.example/orders"] {
        assert!(status.message().contains(part), "{status:?}");
    }
}

#[tokio::test]
async fn who_shows_nothing_or_speaks_no_tls_or_no_http_2_is_refused_for_that() {
    let (workshop, _publisher, running) = target().await;
    let nothing = show(&running, None).await;
    let plain = attempt_in_plaintext(running.address, &CHECK).await.expect("an attempt");
    let right = workshop.right().expect("credentials");
    let mute = Approach { alpn: &[], ..Approach::showing(Some(&right)) };
    let mute = attempt(running.address, mute, &CHECK).await.expect("an attempt");
    let other = Approach { alpn: &[b"http/1.1", b"h3"], ..Approach::showing(Some(&right)) };
    let other = attempt(running.address, other, &CHECK).await.expect("an attempt");
    for (attempt, expected) in [
        (nothing, Reason::ClientCertMissing),
        (plain, Reason::NotTls),
        (mute, Reason::NoApplicationProtocol),
        (other, Reason::NoApplicationProtocol),
    ] {
        refused(&attempt, expected.as_str());
        assert_eq!(record_of(&running, attempt.local).await.reason, Some(expected));
    }
}

#[tokio::test]
async fn a_hello_of_another_decade_or_another_planet_is_refused_for_what_it_lacks() {
    let (_workshop, _publisher, running) = target().await;
    let offers: [(Hello<'_>, Reason); 3] = [
        (TLS_1_2, Reason::ProtocolVersionUnsupported),
        (STRANGE_SUITES, Reason::CipherSuiteMismatch),
        (STRANGE_GROUPS, Reason::CipherSuiteMismatch),
    ];
    for (hello, expected) in offers {
        let mut tcp = tokio::net::TcpStream::connect(running.address).await.expect("a connection");
        let local = tcp.local_addr().expect("an address");
        tcp.write_all(&hello.bytes()).await.expect("written");
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.expect("an alert and the end");
        assert_eq!(answer.first(), Some(&21), "{hello:?}: an alert: {answer:?}");
        let record = record_of(&running, local).await;
        assert_eq!(record.reason, Some(expected), "{hello:?}: {record:?}");
    }
}
