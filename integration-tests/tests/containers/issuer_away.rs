//! The issuer killed and back at once: nobody notices. The issuer away until every certificate has ended: everybody
//! refuses, says why, and comes back by itself when it does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Node, Outcome, ensure, eventually, scenario};
use crate::market::{Market, ready, url};

/// Long enough that a restart passes between two renewals, short enough to wait for its end.
const LIFE: &str = "svid_ttl = \"20s\"";

#[test]
fn an_issuer_that_comes_back_is_not_missed_and_one_that_stays_away_is_recovered_from_by_everybody() -> Outcome
{
    scenario("issuer_away", |world| async move {
        let market = Market::begin(&world, LIFE).await?;
        let services = market.start(["ledger", "inventory", "payments", "orders"]).await?;
        killed_and_back_under_load(&market, &services).await?;
        away_until_all_has_ended(&market, &services).await
    })
}

async fn killed_and_back_under_load(market: &Market, services: &[Arc<Node>; 4]) -> Outcome {
    let [.., orders] = services;
    let load = ["orders", &url(orders), "15", "4", "ord-back"];
    let load = market.load("load", "storefront", &load).await?;
    for _ in 0..3 {
        let seen = market.issuer.records().await?.len();
        market.issuer.kill().await?;
        market.issuer.start().await?;
        market.issuer.record_after(seen, "being back", ready).await?;
    }
    let report = load.finished(Duration::from_secs(90)).await?.success("the load")?;
    let report: Value = serde_json::from_str(&report)?;
    ensure(report["failed"] == 0, format!("calls have failed: {report}"))?;
    ensure(report["ends"]["completed"] == report["calls"], format!("orders are not completed: {report}"))?;
    let svids = report["svids"].as_u64().unwrap_or_default();
    ensure(svids >= 2, format!("the caller never renewed: {report}"))
}

async fn away_until_all_has_ended(market: &Market, services: &[Arc<Node>; 4]) -> Outcome {
    let [.., orders] = services;
    // It lives on without an issuer, and calls all the while.
    let witness = ["orders", &url(orders), "45", "1", "ord-away"];
    let witness = market.load("witness", "storefront", &witness).await?;
    let before = market.issuer.records().await?.len();
    market.issuer.kill().await?;
    for service in services {
        let what = format!("'{}' to say that its certificate has ended", service.name());
        eventually(&what, Duration::from_secs(40), || async {
            let health = service.exec(&["/entrypoint", "--health"]).await?;
            Ok(health.stderr.contains("the SVID has ended").then_some(()))
        })
        .await?;
    }
    market.issuer.start().await?;
    market.issuer.record_after(before, "being back", ready).await?;
    for service in services {
        let what = format!("'{}' to be ready again", service.name());
        eventually(&what, Duration::from_secs(30), || async {
            Ok((service.exec(&["/entrypoint", "--health"]).await?.status == 0).then_some(()))
        })
        .await?;
    }
    let report = witness.finished(Duration::from_secs(120)).await?.success("the witness")?;
    let report: Value = serde_json::from_str(&report)?;
    honest(&report)?;
    let calls = ["orders", &url(orders), "3", "4", "ord-after"];
    let after = market.answer("after", "storefront", &calls).await?;
    ensure(after["failed"] == 0, format!("calls fail after the issuer is back: {after}"))
}

/// Calls failed, for the reason that there was; no order was lost.
fn honest(report: &Value) -> Outcome {
    ensure(report["lost"] == 0, format!("an order that was taken is lost: {report}"))?;
    let failures = report["failures"].as_object().into_iter().flatten();
    let reasons: Vec<&String> = failures.map(|(what, _)| what).collect();
    ensure(!reasons.is_empty(), format!("calls without a certificate have not failed: {report}"))?;
    // The last: close to a certificate's end the server says goodbye at once.
    let known =
        ["NOT_READY", "CERT_EXPIRED", "HANDSHAKE_REFUSED", "PEER_CONNECTION_CLOSED", "CONNECTION_RETIRING"];
    let unexplained = reasons.iter().find(|what| !known.iter().any(|reason| what.contains(reason)));
    ensure(unexplained.is_none(), format!("a failure that explains nothing: {unexplained:?} in {report}"))
}
