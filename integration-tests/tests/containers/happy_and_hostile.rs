//! An allowed call passes through a chain of two services, and a hostile container is refused each time for exactly
//! the reason that the server's record gives. What the book says at the end is what the allowed call posted.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::{Node, Outcome, World, ensure, scenario};
use crate::market::{Market, url};

/// An attack that ends in the handshake: its name, the alert the attacker sees, the reason the server records.
const HANDSHAKES: [(&str, Option<&str>, &str); 4] = [
    ("plaintext", None, "NOT_TLS"),
    ("no-certificate", Some("CertificateRequired"), "CLIENT_CERT_MISSING"),
    ("self-made-ca", Some("UnknownCA"), "CERT_UNTRUSTED"),
    ("foreign-domain", Some("AccessDenied"), "TRUST_DOMAIN_UNKNOWN"),
];

#[test]
fn an_allowed_call_passes_two_services_and_a_hostile_container_is_refused_with_the_reason_recorded() -> Outcome
{
    scenario("happy_and_hostile", |world| async move {
        let market = Shop::open(&world).await?;
        a_charge_reaches_the_ledger(&market).await?;
        for (attack, alert, reason) in HANDSHAKES {
            a_handshake_is_refused(&market, attack, alert, reason).await?;
        }
        a_real_identity_without_the_role_is_refused(&market).await?;
        a_refused_workload_is_told_why(&market).await?;
        the_book_holds_the_charge_and_nothing_else(&market).await
    })
}

struct Shop {
    market: Market,
    ledger: Arc<Node>,
    payments: Arc<Node>,
}

impl Shop {
    async fn open(world: &Arc<World>) -> Outcome<Self> {
        let market = Market::begin(world, "svid_ttl = \"60s\"").await?;
        let [ledger, payments] = market.start(["ledger", "payments"]).await?;
        Ok(Self { market, ledger, payments })
    }
}

async fn a_charge_reaches_the_ledger(market: &Shop) -> Outcome {
    let call = ["charge", &url(&market.payments), "order-1"];
    let charged = market.market.call("orders", "orders", &call).await?.success("an allowed charge")?;
    let charged: Value = serde_json::from_str(&charged)?;
    ensure(charged["state"] == "CHARGE_STATE_POSTED", format!("the charge is not posted: {charged}"))
}

async fn a_handshake_is_refused(market: &Shop, attack: &str, alert: Option<&str>, reason: &str) -> Outcome {
    let report = market.market.attack(attack, &market.ledger, &[]).await?;
    ensure(report["outcome"] == "disconnected", format!("{attack}: {report}"))?;
    ensure(report["alert"].as_str() == alert, format!("{attack}: the alert should be {alert:?}: {report}"))?;
    only_record(&market.ledger, "connection refused", reason).await?;
    Ok(())
}

async fn a_real_identity_without_the_role_is_refused(market: &Shop) -> Outcome {
    let token = market.market.token("reports").await?;
    let issuer = market.market.issuer_address();
    let report = market.market.attack("wrong-role", &market.ledger, &[&issuer, &token]).await?;
    ensure(report["grpc_status"] == 7, format!("wrong-role should be PERMISSION_DENIED: {report}"))?;
    let details = report["details"].as_str().unwrap_or_default();
    ensure(details.contains("ROLE_MISSING"), format!("the caller is not told the reason: {report}"))?;
    let record = only_record(&market.ledger, "call refused", "ROLE_MISSING").await?;
    for (field, value) in [
        ("peer", "spiffe://market.example/reports"),
        ("method", "/market.ledger.v1.Ledger/Post"),
        ("need", "ledger-writer"),
    ] {
        ensure(record[field] == value, format!("{field} should be {value}: {record}"))?;
    }
    let decision = record["decision_id"].as_str().unwrap_or_default();
    ensure(
        !decision.is_empty() && details.contains(decision),
        format!("no common decision id: {record}, {report}"),
    )
}

async fn a_refused_workload_is_told_why(market: &Shop) -> Outcome {
    let call = ["charge", &url(&market.payments), "order-2"];
    let refused = market.market.call("reports", "reports", &call).await?;
    ensure(refused.status == 1, format!("a charge without the role: {refused:?}"))?;
    let told: Value = serde_json::from_str(&refused.stdout)?;
    ensure(told["reason"] == "ROLE_MISSING", format!("another reason: {told}"))?;
    only_record(&market.payments, "call refused", "ROLE_MISSING").await?;
    Ok(())
}

async fn the_book_holds_the_charge_and_nothing_else(market: &Shop) -> Outcome {
    let call = ["totals", &url(&market.ledger)];
    let totals = market.market.call("auditor", "auditor", &call).await?.success("reading the totals")?;
    let totals: Value = serde_json::from_str(&totals)?;
    let expected = serde_json::json!({
        "last_sequence": 1,
        "currencies": [{ "currency": "EUR", "postings": 1, "debits": 1_250 }],
    });
    ensure(totals == expected, format!("the book should hold {expected}: {totals}"))
}

/// The one record with this message and reason; a second one would mean that something was refused twice.
async fn only_record(server: &Node, message: &str, reason: &str) -> Outcome<Value> {
    let matches = |record: &Value| record["message"] == message && record["reason"] == reason;
    let found = server.record(&format!("'{message}' with {reason}"), matches).await?;
    let count = server.records().await?.iter().filter(|record| matches(record)).count();
    ensure(count == 1, format!("{count} records of '{message}' with {reason} at '{}'", server.name()))?;
    Ok(found)
}
