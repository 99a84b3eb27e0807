//! The clock of payments is wrong by ten minutes. What can work works; what cannot is refused for the documented reason,
//! in words that say how far the clocks are apart, and is well again as soon as the clock is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Finished, Node, Outcome, Volume, ensure, scenario};
use crate::market::{Market, ServiceSpec, ready, url};

const AHEAD: &str = "600";
const BEHIND: &str = "-600";
const RIGHT: &str = "0";

const STATE: &str = "/var/lib/avouch";

#[test]
fn a_clock_ten_minutes_ahead_is_no_obstacle_to_certificates_of_an_hour() -> Outcome {
    scenario("clock_ahead", |world| async move {
        let market = Market::begin(&world, "svid_ttl = \"1h\"").await?;
        let [ledger] = market.start(["ledger"]).await?;
        let payments = with_clock(&market, AHEAD).start().await?;
        // The caller and payments judge one another, payments and the ledger do, and payments and the issuer did.
        charged(&market, &payments, "order-1").await?;
        for service in [&ledger, &payments] {
            let records = service.records().await?;
            let refused = records.iter().find(|record| record["message"] == "connection refused");
            ensure(refused.is_none(), format!("'{}' refused somebody: {refused:?}", service.name()))?;
        }
        Ok(())
    })
}

#[test]
fn with_a_clock_ten_minutes_behind_every_peer_is_refused_as_not_valid_yet_until_the_clock_is_right() -> Outcome
{
    scenario("clock_behind", |world| async move {
        let market = Market::begin(&world, "svid_ttl = \"1h\"").await?;
        let [ledger] = market.start(["ledger"]).await?;
        let state = world.volume("payments").await?;
        a_charge_waits_for_the_ledger(&market, &ledger, &state).await?;

        let late = with_clock(&market, BEHIND).named("payments-behind").volume(&state, STATE).start().await?;
        as_a_client_it_refuses_the_ledger(&late).await?;
        as_a_server_it_refuses_a_caller(&market, &late).await?;
        nobody_enrols_with_such_a_clock(&market).await?;
        late.stop().await?;

        let right = with_clock(&market, RIGHT).named("payments-right").volume(&state, STATE).start().await?;
        charged(&market, &right, "order-1").await?;
        charged(&market, &right, "order-2").await?;
        let totals = market.answer("totals", "auditor", &["totals", &url(&ledger)]).await?;
        ensure(totals["last_sequence"] == 2, format!("two charges should be in the book: {totals}"))
    })
}

#[test]
fn a_clock_ahead_by_more_than_a_short_life_gets_no_identity_and_says_why_until_the_clock_is_right() -> Outcome
{
    scenario("clock_ahead_of_short_lives", |world| async move {
        let market = Market::begin(&world, "svid_ttl = \"60s\"").await?;
        let [_ledger] = market.start(["ledger"]).await?;
        let state = world.volume("payments").await?;
        let early = with_clock(&market, AHEAD).named("payments-ahead").volume(&state, STATE);
        let early = early.start_unready().await?;
        let record = early.record("no identity", |record| record["message"] == "no identity yet").await?;
        explains(&record, "error", "CERT_EXPIRED", "expired")?;
        early.stop().await?;

        let right = with_clock(&market, RIGHT).named("payments-right").volume(&state, STATE).start().await?;
        charged(&market, &right, "order-1").await
    })
}

#[test]
fn the_ordinary_image_knows_no_wrong_clock() -> Outcome {
    scenario("clock_of_the_ordinary_image", |world| async move {
        let market = Market::begin(&world, "").await?;
        let payments = market.service("payments").set("SERVICE__CLOCK_OFFSET_SECONDS", AHEAD);
        let ended = payments.start_unready().await?.finished(Duration::from_secs(20)).await?;
        let named = ended.stderr.contains("clock_offset_seconds");
        ensure(ended.status == 64 && named, format!("the key should be unknown: {ended:?}"))
    })
}

fn with_clock<'a>(market: &'a Market, offset: &str) -> ServiceSpec<'a> {
    market.service("payments").image("payments-test-clock").set("SERVICE__CLOCK_OFFSET_SECONDS", offset)
}

/// Charges as orders does.
async fn charge(market: &Market, payments: &Node, key: &str) -> Outcome<Finished> {
    let caller = format!("{key}-at-{}", payments.name());
    market.call(&caller, "orders", &["charge", &url(payments), key]).await
}

async fn charged(market: &Market, payments: &Node, key: &str) -> Outcome {
    let state: Value = serde_json::from_str(&charge(market, payments, key).await?.success(key)?)?;
    ensure(state["state"] == "CHARGE_STATE_POSTED", format!("{key} is not posted: {state}"))
}

async fn a_charge_waits_for_the_ledger(market: &Market, ledger: &Arc<Node>, state: &Volume) -> Outcome {
    let payments = with_clock(market, RIGHT).volume(state, STATE).start().await?;
    ledger.stop().await?;
    let pending: Value =
        serde_json::from_str(&charge(market, &payments, "order-1").await?.success("order-1")?)?;
    ensure(pending["state"] == "CHARGE_STATE_PENDING", format!("there is no ledger: {pending}"))?;
    payments.stop().await?;
    let before = ledger.records().await?.len();
    ledger.start().await?;
    ledger.record_after(before, "being ready again", ready).await?;
    Ok(())
}

async fn as_a_client_it_refuses_the_ledger(payments: &Node) -> Outcome {
    let record =
        payments.record("a charge not posted", |record| record["message"] == "not posted yet").await?;
    explains(&record, "error", "CERT_NOT_YET_VALID", "becomes valid in")
}

async fn as_a_server_it_refuses_a_caller(market: &Market, payments: &Node) -> Outcome {
    let refused = charge(market, payments, "order-2").await?;
    let told: Value = serde_json::from_str(&refused.stdout)?;
    // All that TLS says: the alert is the same for both ends of a certificate's life.
    ensure(refused.status == 1 && told["reason"] == "HANDSHAKE_REFUSED", format!("{refused:?}"))?;
    let alert = told["message"].as_str().is_some_and(|message| message.contains("CertificateExpired"));
    ensure(alert, format!("the alert should be named: {told}"))?;
    let record = payments.record("a refusal", |record| record["message"] == "connection refused").await?;
    ensure(record["reason"] == "CERT_NOT_YET_VALID", format!("another reason: {record}"))?;
    explains(&record, "detail", "spiffe://market.example/orders", "becomes valid in")
}

async fn nobody_enrols_with_such_a_clock(market: &Market) -> Outcome {
    let fresh = with_clock(market, BEHIND).named("payments-fresh").start_unready().await?;
    let record = fresh.record("no identity", |record| record["message"] == "no identity yet").await?;
    explains(&record, "error", "CERT_NOT_YET_VALID", "becomes valid in")
}

/// The record's field names who or why, whose clock to look at, and by how many minutes it is wrong: fewer than ten,
/// since certificates are dated back and live for a while, and have been there for a moment.
fn explains(record: &Value, field: &str, what: &str, when: &str) -> Outcome {
    let text = record[field].as_str().unwrap_or_default();
    let minutes = text.split_once(when).and_then(|(_, rest)| rest.split_once(" min")?.0.trim().parse().ok());
    let explained = text.contains(what) && text.contains("by this machine's clock");
    let by_how_much = minutes.is_some_and(|minutes: u32| (5..=10).contains(&minutes));
    ensure(explained && by_how_much, format!("'{field}' should say {what} and '{when} … min': {record}"))
}
