//! A partner with an issuer and a trust domain of its own: its workloads' certificates are perfectly good, and good for
//! nothing here; nor does anybody here take its servers for ours.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Failure, Node, Outcome, World, ensure, root, scenario};
use crate::market::{Market, address, issuer, url};
use crate::records;

const PARTNER: &str = "partner.example";

/// What the partner's workload tries: RPCs that need a role, and one that every peer may call.
const CALLS: [&str; 3] =
    ["/market.ledger.v1.Ledger/Post", "/market.payments.v1.Payments/Charge", "/grpc.health.v1.Health/Check"];

struct Neighbours {
    market: Market,
    partner: Market,
    ledger: Arc<Node>,
    payments: Arc<Node>,
    partner_ledger: Arc<Node>,
}

#[test]
fn a_good_certificate_of_another_trust_domain_is_refused_by_servers_and_by_clients() -> Outcome {
    scenario("foreign_domain", |world| async move {
        let neighbours = Neighbours::open(&world).await?;
        the_market_refuses_the_partners_workload(&neighbours).await?;
        the_partners_client_refuses_the_markets_server(&neighbours).await?;
        the_markets_client_refuses_the_partners_server(&neighbours).await
    })
}

impl Neighbours {
    async fn open(world: &Arc<World>) -> Outcome<Self> {
        let market = Market::begin(world, "").await?;
        let [ledger, payments] = market.start(["ledger", "payments"]).await?;
        let partner = issuer(world, "partner-issuer", PARTNER, "").start().await?;
        let partner = Market::of(world, partner, PARTNER).await?;
        let policy = std::fs::read_to_string(root().join("deploy/demo/policy.toml"))?;
        let policy = policy.replace("market.example", PARTNER);
        let partner_ledger =
            partner.service("ledger").named("partner-ledger").file("policy.toml", policy).start().await?;
        Ok(Self { market, partner, ledger, payments, partner_ledger })
    }
}

async fn the_market_refuses_the_partners_workload(it: &Neighbours) -> Outcome {
    let servers = [
        ("ledger", address(&it.ledger)),
        ("payments", address(&it.payments)),
        ("issuer", it.market.issuer_address()),
    ];
    // At home its certificate is taken, and it is somebody with a role there.
    let home = json!({ "target": address(&it.partner_ledger), "path": "/market.ledger.v1.Ledger/GetTotals", "caller": "auditor" });
    let mut calls = vec![home];
    for (_, target) in &servers {
        calls.extend(CALLS.map(|path| json!({ "target": target, "path": path, "caller": "auditor" })));
    }
    let caller =
        json!({ "issuer": it.partner.issuer_address(), "token": it.partner.token("auditor").await? });
    let plan = json!({ "callers": { "auditor": caller }, "calls": calls }).to_string();
    let report = it.market.attack("hostile", &["calls"], &[("plan.json", plan)]).await?;
    let Some((home, abroad)) = report.split_first() else { return Err(Failure::new("nothing was tried")) };
    ensure(home["seen"]["status"] == 0, format!("at home it should be answered: {home}"))?;
    ensure(abroad.len() == servers.len() * CALLS.len(), format!("{abroad:?}"))?;

    let nodes = [&it.ledger, &it.payments, &it.market.issuer];
    for (server, attempts) in nodes.into_iter().zip(abroad.chunks(CALLS.len())) {
        let attempts: Vec<&Value> = attempts.iter().map(|attempt| &attempt["seen"]).collect();
        let records = records::complete(server, &attempts).await?;
        for seen in &attempts {
            told_an_alert_and_nothing_else(seen)?;
            let record = records::only(&records, seen).map_err(Failure::new)?;
            let detail = record["detail"].as_str().unwrap_or_default();
            let right = record["reason"] == "TRUST_DOMAIN_UNKNOWN"
                && record["message"] == "connection refused"
                && detail.contains(PARTNER);
            ensure(right, format!("'{}': {record}", server.name()))?;
        }
        let others = records::others(&records, &attempts);
        ensure(others.is_empty(), format!("'{}' refused somebody else: {others:?}", server.name()))?;
    }
    Ok(())
}

/// One alert for everything about access: no answer, no reason, no decision, no name of ours.
fn told_an_alert_and_nothing_else(seen: &Value) -> Outcome {
    let told = json!({ "outcome": "disconnected", "alert": "AccessDenied" });
    let said = seen["error"].as_str().unwrap_or_default();
    let silent = !["TRUST_DOMAIN", "market.example", PARTNER, "d-"].iter().any(|word| said.contains(word));
    let right = seen["outcome"] == told["outcome"] && seen["alert"] == told["alert"] && silent;
    ensure(right, format!("it should see an alert and nothing else: {seen}"))
}

async fn the_partners_client_refuses_the_markets_server(it: &Neighbours) -> Outcome {
    let refused = it.partner.call("visitor", "auditor", &["totals", &url(&it.ledger)]).await?;
    unknown_to_the_client(&refused.stdout, "market.example")?;
    let left =
        |record: &Value| record["message"] == "connection refused" && record["reason"] == "HANDSHAKE_REFUSED";
    let record = it.ledger.record("a client that has left", left).await?;
    let said = record["detail"].as_str().unwrap_or_default();
    ensure(said.contains("AccessDenied"), format!("it should have left with an alert: {record}"))
}

async fn the_markets_client_refuses_the_partners_server(it: &Neighbours) -> Outcome {
    let home = ["totals", &url(&it.partner_ledger), "spiffe://partner.example/ledger"];
    it.partner.answer("partner-auditor", "auditor", &home).await?;
    // Whomever it wants to reach: somebody who is called the same in the market, or the partner's own.
    for (name, expected) in [("lost", "market.example"), ("curious", PARTNER)] {
        let id = format!("spiffe://{expected}/ledger");
        let call = ["totals", &url(&it.partner_ledger), &id];
        let refused = it.market.call(name, "auditor", &call).await?;
        ensure(refused.status == 1, format!("{name}: {refused:?}"))?;
        unknown_to_the_client(&refused.stdout, PARTNER)?;
    }
    Ok(())
}

fn unknown_to_the_client(told: &str, domain: &str) -> Outcome {
    let told: Value = serde_json::from_str(told)?;
    let message = told["message"].as_str().unwrap_or_default();
    let right = told["reason"] == "TRUST_DOMAIN_UNKNOWN" && message.contains(domain);
    ensure(right, format!("it should know no bundle of {domain}: {told}"))
}
