//! Why was it refused? Asked as an operator asks: by `avouch` in the issuer's container, which asks each service in its
//! own, over the network, and each answers by its own policy.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Failure, Finished, Node, Outcome, ensure, eventually, root, scenario};
use crate::market::{Market, upstreams, url};

const SERVICES: [&str; 6] = ["ledger", "inventory", "payments", "orders", "reports", "storefront"];

/// Reads the book, and has no business with charges.
const REFUSED: &str = "spiffe://market.example/reports";

const METHOD: &str = "/market.payments.v1.Payments/Charge";

#[test]
fn a_refusal_in_one_container_is_explained_by_avouch_in_the_issuers() -> Outcome {
    scenario("explain", |world| async move {
        let market = Market::begin(&world, "svid_ttl = \"60s\"").await?;
        let operator = ["entry", "add", "spiffe://market.example/operator"];
        avouch(&market, &operator).await?.success("registering the operator")?;
        let [.., storefront] = market.start(SERVICES).await?;
        let shopping = ["shop", &url(&storefront), "1", "2", "ord-explain"];
        let shopped = market.answer("shopping", "dev", &shopping).await?;
        ensure(shopped["failed"] == 0, format!("nothing is refused yet: {shopped}"))?;
        everybody_is_asked(&market).await?;
        every_call_of_the_market_is_an_edge(&market).await?;

        let charge = ["charge", &format!("https://{}:7001", world.host("payments")), "order-1"];
        let refused = market.call("intruder", "reports", &charge).await?;
        ensure(refused.status == 1, format!("reports may charge: {}", refused.stdout))?;
        let told: Value = serde_json::from_str(&refused.stdout)?;
        let decision = decision(&told)?;
        is_explained(&market, &decision).await?;
        let denied = avouch(&market, &["tap", "--denied"]).await?.success("tap --denied")?;
        let shown = denied.lines().find(|line| line.contains(&decision)).unwrap_or_default();
        let parts = ["payments  × reports → market.payments.v1.Payments/Charge refused", "ROLE_MISSING"];
        ensure(parts.iter().all(|part| shown.contains(part)), format!("the refusal in a tap: {denied}"))
    })
}

/// Runs the operator's command where Compose and Kubernetes have it.
async fn avouch(market: &Market, arguments: &[&str]) -> Outcome<Finished> {
    let issuer: &Node = &market.issuer;
    issuer.exec(&[&["/usr/bin/avouch"], arguments].concat()).await
}

/// Nothing is bad, and it is about all of them.
async fn everybody_is_asked(market: &Market) -> Outcome {
    let checked = avouch(market, &["check"]).await?.success("avouch check")?;
    let answer = checked.lines().find(|line| line.contains("AV-501")).unwrap_or_default();
    ensure(answer.contains('√') && answer.contains("(6)"), format!("all six answer: {checked}"))
}

/// As their configuration has it.
async fn every_call_of_the_market_is_an_edge(market: &Market) -> Outcome {
    let calls = |name: &'static str| upstreams(name).iter().map(move |to| (name, *to));
    let wanted: BTreeSet<(&str, &str)> = SERVICES.into_iter().flat_map(calls).collect();
    eventually("the edges of the market", Duration::from_secs(30), || async {
        let edges = avouch(market, &["edges", "--json"]).await?;
        let edges: Value = serde_json::from_str(&edges.success("avouch edges")?)?;
        let end = |edge: &Value, key: &str| {
            let id = edge[key].as_str().and_then(|id| id.strip_prefix("spiffe://market.example/"));
            id.unwrap_or_default().to_owned()
        };
        let edges = edges.as_array().into_iter().flatten().filter(|edge| edge["tls_version"] == "TLSv1_3");
        let found: BTreeSet<_> = edges.map(|edge| (end(edge, "caller"), end(edge, "callee"))).collect();
        let known = |(from, to): &(&str, &str)| found.contains(&((*from).to_owned(), (*to).to_owned()));
        Ok(wanted.iter().all(known).then_some(()))
    })
    .await
}

/// What the refused caller's one error line names.
fn decision(told: &Value) -> Outcome<String> {
    let message = told["message"].as_str().unwrap_or_default();
    let named = message.split([' ', ';', ',']).find(|word| word.starts_with("d-"));
    named.map(str::to_owned).ok_or_else(|| Failure::new(format!("no decision is named: {told}")))
}

/// Who, what, why, which role is missing, where the policy says so, and the line that would change it.
async fn is_explained(market: &Market, decision: &str) -> Outcome {
    let explained = avouch(market, &["explain", decision]).await?.success("avouch explain")?;
    let policy = std::fs::read_to_string(root().join("deploy/demo/policy.toml"))?;
    let line = policy.lines().position(|line| line.starts_with("charger = ")).map_or(0, |line| line + 1);
    let fix = format!("charger = [\"spiffe://market.example/orders\", \"{REFUSED}\"]");
    let place = format!("/etc/avouch/policy.toml:{line}");
    let callee = format!("DENIED {REFUSED} → spiffe://market.example/payments {METHOD}");
    let parts = [
        callee.as_str(),
        decision,
        "ROLE_MISSING",
        "needs one of [charger], has [ledger-reader]",
        &place,
        &fix,
        "the call is allowed, by the role charger",
    ];
    let missing: Vec<_> = parts.into_iter().filter(|part| !explained.contains(part)).collect();
    ensure(missing.is_empty(), format!("{missing:?} is not in\n{explained}"))
}
