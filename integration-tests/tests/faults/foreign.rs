//! A port where nobody listens; and clients that are not ours: they see what their library shows, and the server's record
//! is found by their address.

use std::net::SocketAddr;

use crate::caller::Caller;
use crate::person::{asks, asks_of};
use crate::world::World;
use avouch_testkit::program::alone;

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nobody_listens_is_told_from_a_server_that_refuses() {
    let world = World::begin();
    let mut ledger = world.ledger();
    let caller = Caller::enrolled(&world, "reports").await;
    assert_eq!(caller.totals(ledger.address()).await, Ok(()));
    let address = ledger.leave();
    let line = caller.totals(address).await.unwrap_err();
    asks(&world, "port not listening", &line).and(&[&address.to_string()]);
}

#[test]
fn a_plaintext_client_is_found_by_its_address() {
    let world = World::begin();
    let ledger = world.ledger();
    let url = format!("http://{}/market.ledger.v1.Ledger/GetTotals", ledger.address());
    let (line, client) = curl(&["--http2-prior-knowledge", &url]);
    asks_of(&world, "plaintext client", &line, client).and(&["spiffe://market.example/ledger"]);
}

#[test]
fn a_client_of_tls_1_2_is_found_by_its_address() {
    let world = World::begin();
    let ledger = world.ledger();
    let (line, client) = curl(&["--insecure", "--tls-max", "1.2", &format!("https://{}/", ledger.address())]);
    asks_of(&world, "TLS 1.2 client", &line, client).and(&["spiffe://market.example/ledger"]);
}

#[test]
fn a_client_without_a_certificate_is_found_by_its_address() {
    let world = World::begin();
    let ledger = world.ledger();
    let (line, client) = curl(&["--insecure", "--http2", &format!("https://{}/", ledger.address())]);
    asks_of(&world, "no client certificate", &line, client).and(&["spiffe://market.example/ledger"]);
}

/// The one line that curl prints when it fails, and the address that it came from.
fn curl(arguments: &[&str]) -> (String, SocketAddr) {
    let temp = tempfile::tempdir().unwrap();
    let output = alone("curl", temp.path())
        .args([
            "--silent",
            "--show-error",
            "--output",
            "/dev/null",
            "--write-out",
            "%{local_ip}:%{local_port}",
        ])
        .args(arguments)
        .output()
        .unwrap();
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{line}");
    let client = String::from_utf8_lossy(&output.stdout).into_owned();
    let client = client.parse().unwrap_or_else(|error| panic!("{client:?}: {error}: {line}"));
    (line, client)
}
