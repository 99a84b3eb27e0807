//! What a caller is told of a call that ends without an answer.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::super::Channel;
use super::super::connect::tests::{H2, LEDGER, Place, Serving, World};
use super::*;
use crate::identity::Publisher;

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// A channel to an address, where the ledger should be. It lives as long as its identity.
fn channel(world: &World, address: SocketAddr, default: Duration) -> (Publisher, Channel) {
    let (publisher, client) = world.identity("/reports");
    let ledger: avouch_spiffe::SpiffeId = LEDGER.parse().unwrap();
    let builder = client.channel(&format!("https://{address}"), ledger);
    (publisher, builder.default_timeout(Some(default)).build().unwrap())
}

fn request() -> tonic::Request<HealthCheckRequest> {
    tonic::Request::new(HealthCheckRequest { service: String::new() })
}

async fn check(channel: &Channel, request: tonic::Request<HealthCheckRequest>) -> Status {
    HealthClient::new(channel.clone()).check(request).await.expect_err("there is no answer")
}

/// Every part is in the message, which is a line of some length and no more.
fn says(status: &Status, parts: &[&str]) {
    for part in parts {
        assert!(status.message().contains(part), "{part} is not in {status:?}");
    }
    assert!(status.message().len() < 1500 && !status.message().contains('\n'), "{status:?}");
}

const A_SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_call_that_waits_for_a_connection_until_its_deadline_says_for_whom_and_which_deadline() {
    let world = World::new();
    let silent = Place::silent().await;
    let (_publisher, channel) = channel(&world, silent.address, Duration::from_millis(200));
    let target = silent.address.to_string();
    let connecting = format!("while waiting for a connection to {LEDGER} at {target}");
    let handshake = format!("`avouch handshake {target} --expect {LEDGER}`");
    let status = check(&channel, request()).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    says(
        &status,
        &["the channel's default_timeout of 200ms passed", &connecting, &handshake, "`avouch check`"],
    );

    let mut with_deadline = request();
    with_deadline.set_timeout(Duration::from_millis(150));
    let status = check(&channel, with_deadline).await;
    says(&status, &["the request's own deadline (grpc-timeout) of 150ms passed", &connecting]);

    let deadline = Instant::now() + Duration::from_millis(100);
    let status = crate::deadline::scope(deadline, check(&channel, request())).await;
    says(&status, &["the deadline inherited from the call being served passed, 100ms after", &connecting]);
}

#[tokio::test]
async fn a_deadline_that_passes_before_the_last_address_has_failed_says_what_is_known_of_the_others() {
    let world = World::new();
    let (silent, other) = (Place::silent().await, SocketAddr::from(([127, 0, 0, 2], 7001)));
    let (_publisher, channel) = channel(&world, silent.address, Duration::from_millis(200));
    // As the race would have found meanwhile.
    channel.shared.bad_addresses.failed(other, format!("{other}: CERT_UNTRUSTED: somebody else"));
    let status = check(&channel, request()).await;
    says(&status, &["so far: 127.0.0.2:7001: CERT_UNTRUSTED: somebody else; step by step"]);
}

#[tokio::test]
async fn a_call_that_waits_for_its_answer_names_the_server_its_address_and_its_record() {
    let world = World::new();
    // Begins HTTP/2 and answers no request.
    let mute = Place::saying(&world.credentials("/ledger"), H2, SETTINGS).await;
    let (_publisher, channel) = channel(&world, mute.address, A_SECOND);
    let parts = [&*format!("while waiting for the answer of {LEDGER} at {}", mute.address), "`avouch check`"];
    // The first one makes the connection, the second finds it open.
    for _ in 0..2 {
        let status = check(&channel, request()).await;
        assert_eq!(status.code(), Code::DeadlineExceeded);
        says(&status, &parts);
        says(&status, &["the channel's default_timeout of 1s passed", "`avouch explain 127.0.0.1:"]);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_said_to_have_begun() {
    let world = World::new();
    let serving = Serving::ledger(&world).await;
    let (_publisher, channel) = channel(&world, serving.address, Duration::from_secs(30));
    let mut request = request();
    request.set_timeout(Duration::from_millis(400));
    let mut stream = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let status = stream.message().await.expect_err("the deadline passes");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let part = format!("while waiting for the rest of the answer of {LEDGER} at {}", serving.address);
    says(&status, &["(grpc-timeout) of 400ms passed", &part]);
}

#[tokio::test]
async fn a_call_whose_connection_breaks_names_the_server_its_address_and_its_record() {
    let world = World::new();
    let breaking = Place::tls(&world.credentials("/ledger"), H2, |mut stream| async move {
        stream.write_all(SETTINGS).await.unwrap();
        // The preface comes alone; what comes then is the request.
        let mut read = 0;
        while read < 100 {
            read += stream.read(&mut [0; 1024]).await.unwrap();
        }
    })
    .await;
    let (_publisher, channel) = channel(&world, breaking.address, A_SECOND * 10);
    let status = check(&channel, request()).await;
    assert_eq!(crate::status::reason(&status), Some(Reason::PeerConnectionClosed), "{status:?}");
    let part = format!("the call to {LEDGER} at {} broke off", breaking.address);
    says(&status, &[&part, "the server's record: `avouch explain 127.0.0.1:"]);
    let details = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!(details.metadata["server_address"], breaking.address.to_string());
    assert!(status.message().contains(&format!("`{}`", details.metadata["explain"])), "{status:?}");
}

#[tokio::test]
async fn a_name_of_any_length_makes_no_message_of_any_length() {
    let world = World::new();
    let silent = Place::silent().await;
    let (_publisher, client) = world.identity("/reports");
    let ids = (0..1000).map(|number| format!("spiffe://market.example/{number}").parse().unwrap());
    let filter = crate::filter::IdentityFilter::one_of(ids);
    let channel = client
        .channel(&format!("https://{}", silent.address), filter)
        .default_timeout(Some(Duration::from_millis(50)))
        .build()
        .unwrap();
    says(&check(&channel, request()).await, &["spiffe://market.example/0 or spiffe://market.example/1", "…"]);
}
