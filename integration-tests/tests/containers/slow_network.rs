//! Every way is long and loses parts of what it carries: between a caller and orders, orders and payments, payments and
//! the issuer. Nothing fails for it, it only takes its time; identities are renewed, and connections are kept.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::books::Books;
use crate::harness::{Node, Outcome, World, ensure, scenario};
use crate::market::{Market, address};

/// Each way. The loss is 2 %: each time two more ways and what Linux waits, and what is behind it waits too.
const FAULTS: [&str; 2] = ["delay=200", "loss=50"];
const ROUND_TRIP_MS: u64 = 400;
const LOSS_MS: u64 = 2 * 200 + 200;

/// An order takes a round trip to orders and one from there to payments; nothing else is far away.
const ORDER_MS: u64 = 2 * ROUND_TRIP_MS;
/// Losses and everything else cost less than the ways do, on average.
const MEAN_MS: u64 = 2 * ORDER_MS;
/// Orders answers within its patience whatever happens behind it; the way there and back may lose a segment each.
const WORST_MS: u64 = 4_000 + ROUND_TRIP_MS + 2 * LOSS_MS;

/// Renewed at its half, so during the load.
const SVID_LIFE: &str = "svid_ttl = \"20s\"";
const LOAD_SECONDS: u64 = 16;
const AT_ONCE: u64 = 4;
/// A connection is used until 4.5 s before the first of its certificates ends, and no certificate is kept beyond the
/// half of its life for long: 5 s at the worst, in the time of the load and of asking after its orders.
const CONNECTIONS: usize = 6;

#[test]
fn a_long_way_with_losses_costs_time_and_nothing_else() -> Outcome {
    scenario("slow_network", |world| async move { over_bad_wires(&world).await })
}

async fn over_bad_wires(world: &Arc<World>) -> Outcome {
    let market = Market::begin(world, SVID_LIFE).await?;
    let [ledger, inventory] = market.start(["ledger", "inventory"]).await?;
    let to_issuer = wire(world, "to-issuer", &market.issuer_address()).await?;
    let payments = market.service("payments").set("IDENTITY__ADDRESS", address(&to_issuer)).start().await?;
    let to_payments = wire(world, "to-payments", &address(&payments)).await?;
    let orders = market.service("orders").upstream("payments", &address(&to_payments)).start().await?;
    let to_orders = wire(world, "to-orders", &address(&orders)).await?;

    let desk = format!("https://{}", address(&to_orders));
    let load = ["orders", &desk, &LOAD_SECONDS.to_string(), &AT_ONCE.to_string(), "slow"];
    let caller = market.caller("shopper", "storefront", &load).await?;
    let load = caller.finished(Duration::from_secs(90)).await?.success("the load")?;
    let load: Value = serde_json::from_str(&load)?;
    ensure(load["failed"] == 0, format!("orders failed: {load}"))?;
    let took = |which: &str| load[which].as_u64().unwrap_or_default();
    ensure(took("fastest_ms") >= ORDER_MS, format!("faster than the way allows: {load}"))?;
    let mean = AT_ONCE * LOAD_SECONDS * 1_000 / took("calls").max(1);
    ensure(mean <= MEAN_MS, format!("{mean} ms on average: {load}"))?;
    ensure(took("slowest_ms") <= WORST_MS, format!("slower than {WORST_MS} ms: {load}"))?;
    ensure(took("svids") >= 2, format!("the caller's identity was not renewed: {load}"))?;

    let books = Books { ledger: &ledger, inventory: &inventory, payments: &payments };
    books.agree_with(&market, &load).await?;

    renewed_in_time(&payments).await?;
    for (server, client) in [(&orders, "storefront"), (&payments, "orders")] {
        let connections = connections(server, client).await?;
        let few = (1..=CONNECTIONS).contains(&connections);
        ensure(few, format!("{connections} connections from {client} to '{}'", server.name()))?;
    }
    Ok(())
}

/// A bad wire to `target`.
async fn wire(world: &World, name: &str, target: &str) -> Outcome<Arc<Node>> {
    let proxy = world.node(name, "test-peers").entrypoint("/usr/bin/proxy").command(["pass", "7001", target]);
    let proxy = proxy.start().await?;
    proxy.record("listening", |record| record["message"] == "listening").await?;
    let set = [&["/usr/bin/proxy", "set"][..], &FAULTS[..]].concat();
    proxy.exec(&set).await?.success("setting the faults")?;
    Ok(proxy)
}

/// Renewals came through the bad wire, and none had to be tried twice.
async fn renewed_in_time(service: &Node) -> Outcome {
    service
        .record("a renewal", |record| record["message"] == "SVID in use" && record["how"] == "renew")
        .await?;
    let records = service.records().await?;
    let late = records.iter().find(|it| it["message"] == "no fresh SVID; the current one stays in use");
    ensure(late.is_none(), format!("a renewal failed: {late:?}"))
}

async fn connections(server: &Node, client: &str) -> Outcome<usize> {
    let client = format!("spiffe://market.example/{client}");
    let records = server.records().await?;
    Ok(records.iter().filter(|it| it["message"] == "connection accepted" && it["peer"] == client).count())
}
