//! Certificates that live 15 seconds, renewed for two minutes under load: no call fails.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Node, Outcome, ensure, scenario};
use crate::market::{Market, url};

const LOAD: Duration = Duration::from_secs(120);

/// A certificate is renewed at about half of its life, so there are some fifteen in two minutes.
const AT_LEAST: u64 = 12;

#[test]
fn certificates_of_15_seconds_are_renewed_for_two_minutes_of_load_and_no_call_fails() -> Outcome {
    scenario("renewal", |world| async move {
        let market = Market::begin(&world, "svid_ttl = \"15s\"").await?;
        let services = market.start(["ledger", "inventory", "payments", "orders"]).await?;
        let [ledger, _, _, orders] = &services;
        let seconds = LOAD.as_secs().to_string();
        let placing = ["orders", &url(orders), &seconds, "4", "ord-renewal"];
        let placing = market.load("placing", "storefront", &placing).await?;
        let reading = market.load("reading", "auditor", &["reads", &url(ledger), &seconds, "4"]).await?;
        let (placed, read) = (report(&placing).await?, report(&reading).await?);
        for (what, report) in [("placing", &placed), ("reading", &read)] {
            ensure(report["failed"] == 0, format!("{what}: calls have failed: {report}"))?;
        }
        let svids = placed["svids"].as_u64().unwrap_or_default();
        ensure(svids >= AT_LEAST, format!("the caller has had {svids} certificates only"))?;
        let ends = &placed["ends"];
        ensure(ends["completed"] == placed["calls"], format!("orders that are not completed: {placed}"))?;
        for service in &services {
            let issued = renewals(&market, service.name()).await?;
            ensure(issued >= AT_LEAST, format!("'{}' has had {issued} certificates only", service.name()))?;
        }
        Ok(())
    })
}

async fn report(caller: &Node) -> Outcome<Value> {
    let finished = caller.finished(LOAD + Duration::from_secs(60)).await?;
    Ok(serde_json::from_str(&finished.success(caller.name())?)?)
}

/// Certificates issued to a service, by the issuer's inventory.
async fn renewals(market: &Market, name: &str) -> Outcome<u64> {
    let id = format!("spiffe://market.example/{name}");
    let list = ["/usr/bin/avouch", "cert", "list", "--all", "--id", &id, "--json"];
    let list = market.issuer.exec(&list).await?.success("listing certificates")?;
    let list: Value = serde_json::from_str(&list)?;
    Ok(list.as_array().map_or(0, |certificates| certificates.len() as u64))
}
