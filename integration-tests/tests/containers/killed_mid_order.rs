//! `kill -9` of one service after the other while orders pass through: whatever was acknowledged is brought to its end,
//! and stock, charges and book agree about it.

use std::time::Duration;

use serde_json::Value;

use crate::books::Books;
use crate::harness::{Node, Outcome, ensure, scenario};
use crate::market::{Market, ready, url};

const LOAD: Duration = Duration::from_secs(20);

#[test]
fn services_are_killed_amid_orders_and_nothing_acknowledged_is_lost_and_the_books_agree() -> Outcome {
    scenario("killed_mid_order", |world| async move {
        let market = Market::begin(&world, "svid_ttl = \"60s\"").await?;
        let services = market.start(["ledger", "inventory", "payments", "orders"]).await?;
        let [ledger, inventory, payments, orders] = &services;
        let seconds = LOAD.as_secs().to_string();
        let load = ["orders", &url(orders), &seconds, "8", "ord-killed"];
        let load = market.load("load", "storefront", &load).await?;
        for service in services.iter().rev().chain(&services) {
            kill_and_start(service).await?;
        }
        let report = load.finished(LOAD + Duration::from_secs(90)).await?.success("the load")?;
        let report: Value = serde_json::from_str(&report)?;
        Books { ledger, inventory, payments }.hold_the_completed(&market, &report).await?;
        ensure(report["lost"] == 0, format!("an order that was acknowledged is lost: {report}"))?;
        ensure(report["ends"]["unfinished"].is_null(), format!("orders have no end: {report}"))
    })
}

async fn kill_and_start(service: &Node) -> Outcome {
    let seen = service.records().await?.len();
    service.kill().await?;
    service.start().await?;
    service.record_after(seen, "serving again", ready).await.map(drop)
}
