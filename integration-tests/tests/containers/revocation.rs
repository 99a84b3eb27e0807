//! `avouch revoke` where something is in its way: a service that nobody reaches, processes that are killed, an issuer that is
//! restored from a backup of before. The revoked one has a certificate that is good for minutes, and tries all the time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::backup::{STATE, back_up, restore};
use crate::harness::{Failure, Node, Outcome, World, ensure, eventually, scenario};
use crate::market::{self, JOIN_TOKEN, Market, address, ready};

/// Much longer than a scenario: nothing ends by itself.
const LIFE: &str = "svid_ttl = \"10m\"";

/// Who is revoked.
const ID: &str = "spiffe://market.example/auditor";

/// How long the revoked one tries.
const SECONDS: &str = "90";

/// A broken connection is noticed within this time, at both of its ends.
const HEALED: Duration = Duration::from_secs(45);

#[test]
fn a_partitioned_service_is_named_refuses_once_it_is_back_and_an_undo_lets_in_again() -> Outcome {
    scenario("revoke_partitioned", |world| async move {
        let market = Market::begin(&world, LIFE).await?;
        let wire = world.extra_network("wire").await?;
        market.issuer.join(&wire, "authority").await?;
        let ledger = market.service("ledger").start().await?;
        let inventory = market.service("inventory").set("IDENTITY__ADDRESS", "authority:7800");
        let inventory = inventory.start_unready().await?;
        inventory.join(&wire, "stock").await?;
        inventory.record("being ready", ready).await?;
        let holder = holder(&market, &[&ledger, &inventory]).await?;
        for service in [&ledger, &inventory] {
            comes_to(&holder, &address(service), "accepted").await?;
        }

        inventory.leave(&wire).await?;
        let revoked = avouch(&market, &["revoke", ID, "--reason", "stolen", "--timeout", "3s"]).await?;
        ensure(
            revoked.status == 1,
            format!("one has not acknowledged: {}{}", revoked.stdout, revoked.stderr),
        )?;
        names_the_unreachable(&format!("{}{}", revoked.stdout, revoked.stderr))?;
        comes_to(&holder, &address(&ledger), "refused").await?;
        comes_to(&holder, &market.issuer_address(), "refused").await?;

        inventory.join(&wire, "stock").await?;
        inventory.record_within(HEALED, "a refusal of the revoked one", is_refusal).await?;
        comes_to(&holder, &address(&inventory), "refused").await?;
        undone(&market).await?;
        for service in [&ledger, &inventory] {
            comes_to(&holder, &address(service), "accepted").await?;
        }
        comes_to(&holder, &market.issuer_address(), "accepted").await
    })
}

#[test]
fn whoever_was_killed_after_it_acknowledged_refuses_the_revoked_from_its_first_connection_on() -> Outcome {
    scenario("revoke_and_kill", |world| async move {
        let market = Market::begin(&world, LIFE).await?;
        let ledger = market.service("ledger").start().await?;
        let holder = holder(&market, &[&ledger]).await?;
        comes_to(&holder, &address(&ledger), "accepted").await?;
        revoke(&market).await?;
        market.issuer.kill().await?;
        ledger.kill().await?;
        // The workload alone at first: nobody tells it but its own disk.
        for node in [&ledger, &market.issuer] {
            let seen = node.records().await?.len();
            node.start().await?;
            node.record_after(seen, "being ready again", ready).await?;
            node.record_after(seen, "a refusal of the revoked one", is_refusal).await?;
            let records = node.records().await?;
            let let_in = records.iter().skip(seen).find(|record| is_accepted(record));
            ensure(let_in.is_none(), format!("'{}' let the revoked one in: {let_in:?}", node.name()))?;
        }
        Ok(())
    })
}

#[test]
fn an_issuer_restored_from_a_backup_of_before_learns_of_the_revocation_from_those_who_hold_it() -> Outcome {
    scenario("revoke_and_restore", |world| async move { lose_and_restore(&world).await })
}

async fn lose_and_restore(world: &Arc<World>) -> Outcome {
    let market = Market::begin(world, LIFE).await?;
    let ledger = market.service("ledger").start().await?;
    let holder = holder(&market, &[&ledger]).await?;
    comes_to(&holder, &address(&ledger), "accepted").await?;
    let folder = tempfile::tempdir()?;
    let backup = folder.path().join("issuer-backup.tar");
    back_up(&market.issuer, &backup).await?;
    revoke(&market).await?;
    comes_to(&holder, &address(&ledger), "refused").await?;
    let seen = ledger.records().await?.len();
    market.issuer.destroy().await?;

    let restored = world.volume("restored").await?;
    restore(world, &restored, &backup).await?;
    let issuer = market::issuer(world, "issuer", "market.example", LIFE).volume(&restored, STATE);
    let market = Market::behind(world, issuer.start().await?).await?;
    let returned = eventually("the revocation is returned", HEALED, || async {
        Ok(revocations(&market).await?.into_iter().find(|one| one["subject"] == ID))
    });
    let returned = returned.await?;
    let by = "returned by spiffe://market.example/ledger";
    ensure(returned["actor"] == by, format!("another returned it: {returned}"))?;
    market.issuer.record("a refusal of the revoked one", is_refusal).await?;
    comes_to(&holder, &market.issuer_address(), "refused").await?;
    let records = ledger.records().await?;
    let let_in = records.iter().skip(seen).find(|record| is_accepted(record));
    ensure(let_in.is_none(), format!("the ledger let the revoked one in: {let_in:?}"))
}

/// Enrols as the one who will be revoked, and connects to these services and the issuer again and again.
async fn holder(market: &Market, services: &[&Arc<Node>]) -> Outcome<Arc<Node>> {
    let targets: Vec<String> = services.iter().map(|service| address(service)).collect();
    let issuer = market.issuer_address();
    let command = ["hold", issuer.as_str(), SECONDS].into_iter().chain(targets.iter().map(String::as_str));
    let command: Vec<&str> = command.collect();
    market.attacker("holder", &command, &[(JOIN_TOKEN, market.token("auditor").await?)]).await
}

/// Waits until what comes of its attempts at a target is this.
async fn comes_to(holder: &Node, target: &str, is: &str) -> Outcome {
    eventually(&format!("{target} to be `{is}`"), HEALED, || async {
        let records = holder.records().await?;
        let last = records.iter().rev().find(|record| record["target"] == target);
        let now = last.map(|record| record["is"].as_str().unwrap_or_default().to_owned());
        let revoked = |now: &str| is == "refused" && now.ends_with("_REVOKED");
        Ok(now.filter(|now| now == is || revoked(now)).map(drop))
    })
    .await
}

async fn avouch(market: &Market, arguments: &[&str]) -> Outcome<crate::harness::Finished> {
    market.issuer.exec(&[&["/usr/bin/avouch"], arguments].concat()).await
}

/// Everybody has acknowledged when this returns.
async fn revoke(market: &Market) -> Outcome {
    let revoked = avouch(market, &["revoke", ID, "--reason", "stolen"]).await?;
    revoked.success("avouch revoke").map(drop)
}

async fn revocations(market: &Market) -> Outcome<Vec<Value>> {
    let listed = avouch(market, &["revocations", "--json"]).await?.success("avouch revocations")?;
    let listed: Value = serde_json::from_str(&listed)?;
    Ok(listed["revocations"].as_array().cloned().unwrap_or_default())
}

async fn undone(market: &Market) -> Outcome {
    let listed = revocations(market).await?;
    let [revocation] = &listed[..] else {
        return Err(Failure::new(format!("one revocation is in force: {listed:?}")));
    };
    let undone = avouch(market, &["revoke", "--undo", &revocation["id"].to_string()]).await?;
    undone.success("avouch revoke --undo").map(drop)
}

/// Who has not acknowledged, and until when that matters.
fn names_the_unreachable(said: &str) -> Outcome {
    let named = said.lines().any(|line| line.contains("inventory"));
    ensure(named && said.contains("certificate ends"), format!("the unreachable one is not named: {said}"))
}

fn is_refusal(record: &Value) -> bool {
    let reason = record["reason"].as_str().unwrap_or_default();
    record["message"] == "connection refused" && record["peer"] == ID && reason.ends_with("_REVOKED")
}

fn is_accepted(record: &Value) -> bool {
    record["message"] == "connection accepted" && record["peer"] == ID
}
