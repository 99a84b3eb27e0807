//! The attack list from a container of its own: at a service, at the issuer, and by false servers at an honest client.
//! Each attack leaves the record of its own reason where it was refused, and nothing of it reaches the book.

use std::sync::Arc;

use avouch_attacker::certificates::ATTACKS;
use avouch_attacker::list::UNENTITLED;
use serde_json::{Value, json};

use crate::harness::{Node, Outcome, ensure, scenario};
use crate::market::{Market, url};
use crate::records;

/// The shortest life an SVID can have, and the recovery window of one that stays away for too long.
const SHORT: [&str; 2] = ["10s", "1s"];

/// Until both are over.
const GONE_AFTER: u64 = 12;

/// Strangers, enrolments and recoveries.
const OTHERS: usize = 7 + 7 + 4;

#[test]
fn every_attack_of_the_list_leaves_the_record_of_its_reason_and_nothing_in_the_book() -> Outcome {
    scenario("attack_list", |world| async move {
        let market = Market::begin(&world, "").await?;
        let [ledger, payments] = market.start(["ledger", "payments"]).await?;
        a_charge_reaches_the_ledger(&market, &payments).await?;
        let mut files = market.stolen().await?;
        files.push(("tokens.json", tokens(&market).await?));
        let command = ["list", &crate::market::address(&payments), &market.issuer_address()];
        let report = market.attack("hostile", &command, &files).await?;
        let all = ATTACKS.len() + UNENTITLED.len() + OTHERS;
        ensure(report.len() == all, format!("{} attacks of {all}", report.len()))?;
        each_is_refused_and_on_record(&market, &payments, &report).await?;
        the_book_holds_the_charge_and_nothing_else(&market, &ledger).await
    })
}

async fn a_charge_reaches_the_ledger(market: &Market, payments: &Node) -> Outcome {
    let charged = market.answer("orders", "orders", &["charge", &url(payments), "order-1"]).await?;
    ensure(charged["state"] == "CHARGE_STATE_POSTED", format!("the charge is not posted: {charged}"))
}

async fn tokens(market: &Market) -> Outcome<String> {
    let [ttl, window] = SHORT;
    for name in ["sleeper", "leaver"] {
        let id = format!("spiffe://market.example/{name}");
        let entry = ["/usr/bin/avouch", "entry", "add", &id, "--ttl", ttl, "--recovery-window"];
        let window = if name == "leaver" { window } else { "1h" };
        market.issuer.exec(&[&entry[..], &[window]].concat()).await?.success(name)?;
    }
    let mut tokens = json!({ "gone_after": GONE_AFTER });
    for name in ["intern", "raced", "newcomer", "sleeper", "leaver"] {
        tokens[name] = market.token(name).await?.into();
    }
    Ok(tokens.to_string())
}

async fn each_is_refused_and_on_record(market: &Market, payments: &Arc<Node>, report: &[Value]) -> Outcome {
    let mut wrong = Vec::new();
    for (target, server) in [("payments", payments), ("issuer", &market.issuer)] {
        let here = || report.iter().filter(|attack| attack["target"] == target);
        let attempts: Vec<&Value> = here().map(|attack| &attack["seen"]).collect();
        let records = records::complete(server, &attempts).await?;
        for attack in here() {
            let held = held_off(attack, &records);
            wrong.extend(held.err().map(|why| format!("{} at {target}: {why}", attack["attack"])));
        }
        let others = records::others(&records, &attempts);
        wrong.extend(others.into_iter().map(|record| format!("{target} refused somebody else: {record}")));
    }
    ensure(wrong.is_empty(), format!("{} of {} attacks:\n{}", wrong.len(), report.len(), wrong.join("\n")))
}

fn held_off(attack: &Value, records: &[Value]) -> Result<(), String> {
    let (seen, reason) = (&attack["seen"], attack["reason"].as_str().unwrap_or_default());
    if !seen.is_object() || seen["status"] == 0 {
        return Err(format!("it could not be made, or it got through: {seen}"));
    }
    let record = records::only(records, seen)?;
    let detail = record["detail"].as_str().unwrap_or_default();
    if record["reason"] != reason || !detail.contains(attack["names"].as_str().unwrap_or_default()) {
        return Err(format!("not {reason}, or not for {}: {record}", attack["names"]));
    }
    // Who gets an answer at all is of the trust domain, and is told the reason.
    let told = seen["details"].as_str().unwrap_or_default();
    if seen["outcome"] == "answered" && !told.contains(reason) {
        return Err(format!("its maker is not told the reason: {seen}"));
    }
    Ok(())
}

async fn the_book_holds_the_charge_and_nothing_else(market: &Market, ledger: &Node) -> Outcome {
    let totals = market.answer("auditor", "auditor", &["totals", &url(ledger)]).await?;
    let expected = json!({
        "last_sequence": 1,
        "currencies": [{ "currency": "EUR", "postings": 1, "debits": 1_250 }],
    });
    ensure(totals == expected, format!("the book should hold {expected}: {totals}"))
}

#[test]
fn an_honest_client_refuses_every_false_server_of_the_list_for_its_own_reason() -> Outcome {
    scenario("false_servers", |world| async move {
        const FIRST: u16 = 8_000;
        let market = Market::begin(&world, "").await?;
        let stolen = market.stolen().await?;
        let servers = market.attacker("impostor", &["servers", &FIRST.to_string()], &stolen).await?;
        servers.record("listening", |record| record["message"] == "listening").await?;
        let shown = servers.records().await?;
        let shown: Vec<&Value> = shown.iter().filter(|record| record["shows"].is_string()).collect();
        ensure(shown.len() == ATTACKS.len() + 1, format!("{} false servers", shown.len()))?;

        let (host, count) = (format!("https://{}", servers.host()), shown.len().to_string());
        let call = ["charges", &host, &FIRST.to_string(), &count];
        let refusals = market.answer("orders", "orders", &call).await?;
        let mut wrong = Vec::new();
        for server in shown {
            let of_it = |refusal: &&Value| refusal["port"] == server["port"];
            let refusal = refusals.as_array().and_then(|all| all.iter().find(of_it));
            let refusal = refusal.unwrap_or(&Value::Null);
            let names = server["names"].as_str().unwrap_or_default();
            let said = refusal["message"].as_str().unwrap_or_default();
            if refusal["reason"] != server["reason"] || !said.contains(names) {
                wrong.push(format!("{server}: {refusal}"));
            }
        }
        ensure(wrong.is_empty(), format!("{} false servers:\n{}", wrong.len(), wrong.join("\n")))
    })
}
