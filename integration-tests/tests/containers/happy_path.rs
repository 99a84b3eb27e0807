//! The demo's whole stream of orders, through every service, each hop over mutual TLS; and somebody who listens on the
//! wire sees TLS 1.3 and nothing of what is sold, to whom, or who is who.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::capture::Capture;
use crate::harness::{Node, Outcome, World, ensure, eventually, root, scenario};
use crate::market::{Market, address};

/// Who calls whom: the peer that a service has to have accepted.
const HOPS: [(&str, &str); 6] = [
    ("orders", "storefront"),
    ("inventory", "orders"),
    ("payments", "orders"),
    ("ledger", "payments"),
    ("ledger", "reports"),
    ("issuer", "storefront"),
];

/// Parts of what goes over the wire; one of them in the capture would be one too many.
const SECRETS: [&str; 8] = [
    "ord-0000",
    "cust-00",
    "NOTEBOOK-000",
    "PlaceOrder",
    "market.ledger.v1",
    "spiffe://",
    "PAYMENT_DECLINED",
    "avouch.issuer",
];

const CANARY: &str = "a canary in a coal mine";

#[test]
fn the_demos_orders_pass_every_service_over_tls_1_3_and_nothing_of_them_can_be_read_on_the_wire() -> Outcome {
    scenario("happy_path", |world| async move {
        let capture = Capture::begin(&world).await?;
        if let Some(capture) = &capture {
            hears_the_canary(&world, capture).await?;
        }
        let market = Market::begin(&world, "svid_ttl = \"60s\"").await?;
        let services = market.start(["ledger", "inventory", "payments", "orders", "reports"]).await?;
        let storefront = stream(&market).await?;
        let ended =
            storefront.record_within(Duration::from_secs(120), "the stream's end", stream_ended).await?;
        as_expected(&storefront, &ended).await?;
        let nodes = services.iter().chain([&storefront, &market.issuer]);
        every_hop_is_mutual_tls(nodes).await?;
        let Some(capture) = capture else { return Ok(()) };
        let heard = capture.end().await?;
        heard.only_tls_1_3(HOPS.len())?;
        SECRETS.iter().try_for_each(|secret| heard.says_nothing_of(secret))
    })
}

async fn stream(market: &Market) -> Outcome<Arc<Node>> {
    let orders = std::fs::read_to_string(root().join("deploy/demo/orders.jsonl"))?;
    market
        .service("storefront")
        .file("orders.jsonl", orders)
        .set("STOREFRONT__ORDERS_FILE", "/etc/avouch/orders.jsonl")
        .start()
        .await
}

fn stream_ended(record: &Value) -> bool {
    record["message"] == "the orders have ended"
}

/// What the shipped file says of the shipped stream.
async fn as_expected(storefront: &Node, ended: &Value) -> Outcome {
    let result: Value = serde_json::from_slice(&storefront.read("/var/lib/avouch/result.json").await?)?;
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("deploy/demo/expected.json"))?)?;
    for (key, value) in expected.as_object().into_iter().flatten() {
        ensure(&result[key] == value, format!("{key} should be {value}: {result}"))?;
    }
    ensure(ended["retries"] == 0, format!("nothing had to be tried again: {ended}"))
}

/// By the records of the accepting side.
async fn every_hop_is_mutual_tls<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Outcome {
    let nodes: Vec<_> = nodes.collect();
    for (server, client) in HOPS {
        let node = nodes.iter().find(|node| node.name() == server);
        let peer = format!("spiffe://market.example/{client}");
        let accepted = |record: &Value| record["message"] == "connection accepted" && record["peer"] == peer;
        let what = format!("a connection of {client}");
        if let Some(node) = node {
            let record = node.record(&what, accepted).await?;
            ensure(record["tls_version"] == "TLSv1_3", format!("{server}: not TLS 1.3: {record}"))?;
        }
    }
    Ok(())
}

/// Something that anybody may read, until the capture holds it: what does not hear that proves nothing.
async fn hears_the_canary(world: &World, capture: &Capture) -> Outcome {
    let canary = world.node("canary", "test-peers").command(["listen", "7001", CANARY]).start().await?;
    let listener =
        world.node("listener", "test-peers").command(["listen", "7001", "nothing"]).start().await?;
    canary.record("listening", |record| record["message"] == "listening").await?;
    eventually("the canary on the wire", Duration::from_secs(20), || async {
        let sung = listener.exec(&["/usr/bin/probe", "dial", &address(&canary)]).await?;
        sung.success("hearing the canary")?;
        Ok(capture.holds(CANARY)?.then_some(()))
    })
    .await
}
