//! Orders and payments are cut off from one another under load, and meet again. Whoever orders meanwhile hears how far
//! the order has come, and every order ends: paid once, delivered once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::books::Books;
use crate::harness::{Outcome, World, ensure, scenario};
use crate::market::{Market, url};

/// The name of payments on the only network on which orders looks for it.
const ALIAS: &str = "till";

/// How long PlaceOrder sees an order through, as the demo configures it.
const PATIENCE_MS: u64 = 4_000;
/// What the caller gives each call.
const DEADLINE_MS: u64 = 10_000;

/// The load goes on until after the cut, which orders notices after twice its patience.
const LOAD_SECONDS: &str = "12";
/// A connection that leads nowhere is given up after 30 s at most; then every order has to be paid.
const END: Duration = Duration::from_secs(100);

#[test]
fn orders_taken_while_payments_is_cut_off_are_paid_and_delivered_once_when_it_is_back() -> Outcome {
    scenario("partition", |world| async move { cut_and_heal(&world).await })
}

async fn cut_and_heal(world: &Arc<World>) -> Outcome {
    let market = Market::begin(world, "").await?;
    let [ledger, inventory, payments] = market.start(["ledger", "inventory", "payments"]).await?;
    let orders = market.service("orders").upstream("payments", &format!("{ALIAS}:7001")).start().await?;
    let wire = world.extra_network("wire").await?;
    orders.join(&wire, "desk").await?;
    payments.join(&wire, ALIAS).await?;

    let load = ["orders", &url(&orders), LOAD_SECONDS, "8", "cut"];
    let caller = market.caller("shopper", "storefront", &load).await?;
    payments.record("the first charges", from_orders).await?;
    payments.leave(&wire).await?;
    orders.record("orders that wait for payments", waiting).await?;
    payments.join(&wire, ALIAS).await?;

    let load = caller.finished(END).await?.success("the load")?;
    let load: Value = serde_json::from_str(&load)?;
    ensure(load["failed"] == 0, format!("orders could be reached all the time: {load}"))?;
    let slowest = load["slowest_ms"].as_u64().unwrap_or_default();
    ensure(slowest >= PATIENCE_MS, format!("the cut was not felt: {load}"))?;
    ensure(slowest < DEADLINE_MS, format!("a call hung: {load}"))?;

    let books = Books { ledger: &ledger, inventory: &inventory, payments: &payments };
    books.agree_with(&market, &load).await?;
    Ok(())
}

fn from_orders(record: &Value) -> bool {
    record["message"] == "connection accepted" && record["peer"] == "spiffe://market.example/orders"
}

fn waiting(record: &Value) -> bool {
    record["message"] == "orders wait for a service behind this one"
}
