//! The issuer's disk is full, and the issuer is killed on top of it. Nothing leaves it that is not on record, everybody
//! goes on with the identity they have, and all is well again as soon as there is room.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Finished, Node, Outcome, Volume, World, ensure, scenario};
use crate::market::{self, Market, ready, url};

/// Roomier than what the issuer writes before the disk is filled and after it is freed.
const DISK: u64 = 8 * 1024 * 1024;
const DATA: &str = "/var/lib/avouch/issuer";

/// Renewal is due after half of it, and has the other half to succeed.
const SVID_LIFE: &str = "svid_ttl = \"30s\"";
/// From before the disk is full until after it is free.
const READING_SECONDS: &str = "25";

#[test]
fn a_full_disk_keeps_the_issuer_from_issuing_and_nobody_from_working() -> Outcome {
    scenario("full_disk", |world| async move { fill_kill_and_free(&world).await })
}

async fn fill_kill_and_free(world: &Arc<World>) -> Outcome {
    let disk = Disk::new(world).await?;
    let issuer = market::issuer(world, "issuer", "market.example", SVID_LIFE).volume(&disk.volume, DATA);
    let market = Market::behind(world, issuer.start().await?).await?;
    let [ledger] = market.start(["ledger"]).await?;
    let token = market.token("inventory").await?;
    let reading = market.caller("reader", "reports", &["reads", &url(&ledger), READING_SECONDS, "1"]).await?;
    market.issuer.record("the reader's certificate", |record| issued(record, "reports")).await?;

    disk.fill().await?;
    let inventory = market.service("inventory").file("join-token", token).start_unready().await?;
    enrolment_is_refused(&market.issuer, &inventory).await?;
    renewal_is_refused(&market.issuer, &ledger).await?;
    administration_is_refused(&market.issuer).await?;
    market.issuer.exec(&["/entrypoint", "--health"]).await?.success("the issuer's health")?;

    market.issuer.kill().await?;
    market.issuer.start().await?;
    let ended = market.issuer.finished(Duration::from_secs(20)).await?;
    ensure(ended.status == 1, format!("no issuer can start on a full disk: {}", ended.status))?;
    ensure(ended.stderr.contains("disk is full"), format!("it should name the disk: {}", ended.stderr))?;

    disk.free().await?;
    let seen = market.issuer.records().await?.len();
    market.issuer.start().await?; // as whatever supervises it would
    market.issuer.record_after(seen, "being ready again", ready).await?;
    ledger.record("a renewal", |record| in_use(record) && record["how"] == "renew").await?;
    inventory.record("being ready, with the token that was refused", ready).await?;

    let read = reading.finished(Duration::from_secs(60)).await?.success("reading")?;
    let read: Value = serde_json::from_str(&read)?;
    ensure(read["failed"] == 0 && read["calls"] != 0, format!("reads failed: {read}"))?;
    everything_in_use_is_on_record(&market.issuer, &[&ledger, &inventory]).await
}

/// The issuer's disk, and a container that keeps it mounted while the issuer is down.
struct Disk {
    volume: Volume,
    keeper: Arc<Node>,
}

impl Disk {
    async fn new(world: &World) -> Outcome<Self> {
        let volume = world.small_volume("disk", DISK).await?;
        let keeper =
            world.node("keeper", "test-peers").command(["listen", "7000", "x"]).volume(&volume, "/disk");
        let keeper = keeper.start().await?;
        Ok(Self { volume, keeper })
    }

    async fn fill(&self) -> Outcome {
        let filled = self.make(&DISK.to_string()).await?.success("filling the disk")?;
        let written: u64 = filled.trim().parse()?;
        ensure(written < DISK, "the disk is not full")
    }

    async fn free(&self) -> Outcome {
        self.make("0").await?.success("freeing the disk")?;
        Ok(())
    }

    async fn make(&self, bytes: &str) -> Outcome<Finished> {
        self.keeper.exec(&["/usr/bin/probe", "fill", "/disk/filler", bytes]).await
    }
}

async fn enrolment_is_refused(issuer: &Node, workload: &Node) -> Outcome {
    let told = workload.record("no identity", |record| record["message"] == "no identity yet").await?;
    says(&told, "error", "STORE_UNAVAILABLE")?;
    refusal(issuer, "enroll").await
}

async fn renewal_is_refused(issuer: &Node, workload: &Node) -> Outcome {
    let failed = |record: &Value| record["message"] == "no fresh SVID; the current one stays in use";
    let told = workload.record("a renewal that failed", failed).await?;
    says(&told, "error", "STORE_UNAVAILABLE")?;
    refusal(issuer, "renew").await
}

async fn refusal(issuer: &Node, action: &str) -> Outcome {
    let refused = |it: &Value| it["message"] == "certificate refused" && it["action"] == action;
    let record = issuer.record(&format!("a refusal to {action}"), refused).await?;
    ensure(record["reason"] == "STORE_UNAVAILABLE", format!("another reason: {record}"))?;
    says(&record, "detail", "disk is full")
}

async fn administration_is_refused(issuer: &Node) -> Outcome {
    let refused =
        issuer.exec(&["/usr/bin/avouch", "token", "create", "spiffe://market.example/ledger"]).await?;
    ensure(refused.status != 0 && refused.stdout.is_empty(), format!("a token was made: {refused:?}"))
}

/// What has been acknowledged is not lost.
async fn everything_in_use_is_on_record(issuer: &Node, workloads: &[&Node]) -> Outcome {
    let mut handed_out = BTreeSet::new();
    for node in workloads.iter().chain([&issuer]) {
        let records = node.records().await?;
        let serials = records.iter().filter(|it| in_use(it) || it["message"] == "certificate issued");
        handed_out.extend(serials.filter_map(|record| record["serial"].as_str().map(str::to_owned)));
    }
    let listed = issuer.exec(&["/usr/bin/avouch", "cert", "list", "--all", "--json"]).await?;
    let listed: Vec<Value> = serde_json::from_str(&listed.success("listing certificates")?)?;
    for certificate in &listed {
        handed_out.remove(certificate["serial"].as_str().unwrap_or_default());
    }
    ensure(handed_out.is_empty(), format!("not in the inventory: {handed_out:?}"))
}

fn in_use(record: &Value) -> bool {
    record["message"] == "SVID in use"
}

fn issued(record: &Value, to: &str) -> bool {
    let id = format!("spiffe://market.example/{to}");
    record["message"] == "certificate issued" && record["spiffe_id"] == id
}

fn says(record: &Value, field: &str, what: &str) -> Outcome {
    let said = record[field].as_str().is_some_and(|text| text.contains(what));
    ensure(said, format!("'{field}' should say '{what}': {record}"))
}
