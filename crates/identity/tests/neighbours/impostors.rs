//! Name mismatch hiding a missing path: who somebody says they are is looked at after who vouches for it.

use avouch_attacker::certificates::Workshop;
use avouch_attacker::grpc::{Call, attempt};
use avouch_attacker::impostor::Impostor;
use avouch_attacker::tls::Approach;
use avouch_identity::spiffe::Reason;
use avouch_identity::{IdentityFilter, Server, reason};

use crate::support::{Ca, DOMAIN, check, id, serve_with};

const CALL: Call<'static> = Call { path: "/grpc.health.v1.Health/Check", message: Vec::new(), headers: &[] };

#[tokio::test]
async fn a_server_of_another_name_and_an_unknown_authority_is_untrusted_and_not_merely_misnamed() {
    let ca = Ca::new();
    let (_publisher, client) = ca.identity("/client");
    let stranger = Workshop::new(DOMAIN, "/somebody-else").expect("a workshop");
    let impostor = Impostor::showing(&stranger.right().expect("credentials")).await.expect("a server");
    let url = format!("https://{}", impostor.address);
    let channel = client.channel(&url, id("/server")).build().expect("a channel");
    let status = check(&channel).await.expect_err("an unknown authority");
    assert_eq!(reason(&status), Some(Reason::CertUntrusted), "{status:?}");
    assert!(!status.message().contains("somebody-else, got"), "{status:?}");
}

#[tokio::test]
async fn a_client_outside_the_filter_and_of_an_unknown_authority_is_untrusted_and_not_merely_not_admitted() {
    let ca = Ca::new();
    let (_publisher, server) = ca.identity("/server");
    let running = serve_with(Server::new(server, IdentityFilter::one_of([id("/orders")]))).await;
    for path in ["/orders", "/somebody-else"] {
        let stranger = Workshop::new(DOMAIN, path).expect("a workshop").right().expect("credentials");
        let attempt =
            attempt(running.address, Approach::showing(Some(&stranger)), &CALL).await.expect("an attempt");
        let record = running.records.wait(|record| record.peer_addr == attempt.local).await;
        assert_eq!(record.reason, Some(Reason::CertUntrusted), "{path}: {record:?}");
        assert_eq!(record.peer_id, None, "an identity that nobody vouches for is nobody's: {record:?}");
    }
}
