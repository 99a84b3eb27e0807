//! The issuer replaces its signing authority again and again while everybody calls everybody: no call fails, and what
//! the old authority has signed is good to its end. Roots stay; how they are replaced is another matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::books::Books;
use crate::harness::{Failure, Node, NodeSpec, Outcome, World, ensure, root, scenario};
use crate::market::{self, Market, url};

/// A signing authority is replaced at half of its life, ± 10 %; an SVID is renewed at half of its own.
const AUTHORITY_LIFE: &str = "24s";
const SVID_LIFE: &str = "12s";

/// Beyond the second replacement.
const LOAD_SECONDS: &str = "28";

#[test]
fn no_call_fails_while_one_signing_authority_follows_another() -> Outcome {
    scenario("rotation", |world| async move { replace_under_load(&world).await })
}

async fn replace_under_load(world: &Arc<World>) -> Outcome {
    let market = Market::behind(world, issuer(world)?.start().await?).await?;
    let [ledger] = market.start(["ledger"]).await?;
    let old = OldChain::begin(&market).await?;
    let [inventory, payments, orders] = market.start(["inventory", "payments", "orders"]).await?;

    let ordering = ["orders", &url(&orders), LOAD_SECONDS, "2", "rotation"];
    let ordering = market.caller("shopper", "storefront", &ordering).await?;
    let reading = ["reads", &url(&ledger), LOAD_SECONDS, "1"];
    let reading = market.caller("reader", "auditor", &reading).await?;

    // By when things happened, not by when somebody looked: where containers start slowly they have happened by now.
    let next = market.issuer.record("a new signing authority", |it| replaced(it, &old.issued)).await?;
    old.is_taken_to_its_end(&ledger, &time(&next)).await?;
    market.issuer.record("another new signing authority", |it| replaced(it, &time(&next))).await?;

    let end = Duration::from_secs(90);
    let ordered: Value = serde_json::from_str(&ordering.finished(end).await?.success("ordering")?)?;
    let read: Value = serde_json::from_str(&reading.finished(end).await?.success("reading")?)?;
    ensure(ordered["failed"] == 0, format!("orders failed: {ordered}"))?;
    ensure(read["failed"] == 0 && read["calls"] != 0, format!("reads failed: {read}"))?;
    let books = Books { ledger: &ledger, inventory: &inventory, payments: &payments };
    books.agree_with(&market, &ordered).await?;

    let signed = Signed::at(&market.issuer).await?;
    for service in [&ledger, &inventory, &payments, &orders] {
        let authorities = signed.accepted_by(service).await?;
        ensure(authorities.len() >= 2, format!("'{}' met only {authorities:?}", service.name()))?;
    }
    signed.is_on_record(&market.issuer).await
}

/// An issuer whose signing authority does not live long.
fn issuer(world: &World) -> Outcome<NodeSpec<'_>> {
    let profile = |name: &str| std::fs::read_to_string(root().join("certs").join(name));
    let authority = profile("signing-authority.toml")?;
    let short = authority.replace("lifetime = \"90d\"", &format!("lifetime = \"{AUTHORITY_LIFE}\""));
    ensure(short != authority, "the profile no longer says 90d")?;
    let settings = format!("profiles = \"/etc/avouch\"\nsvid_ttl = \"{SVID_LIFE}\"");
    let issuer = market::issuer(world, "issuer", "market.example", &settings);
    let issuer = issuer.file("root.toml", profile("root.toml")?).file("svid.toml", profile("svid.toml")?);
    Ok(issuer.file("signing-authority.toml", short))
}

/// When a record was made; all containers have one clock, and write times that sort as texts.
fn time(record: &Value) -> String {
    record["timestamp"].as_str().unwrap_or_default().to_owned()
}

fn replaced(record: &Value, after: &str) -> bool {
    record["message"] == "the signing authority has been renewed" && *time(record) > *after
}

/// A workload that the first authority has signed for and the next one will not: its entry is gone.
struct OldChain {
    serial: Value,
    /// When it was issued.
    issued: String,
}

impl OldChain {
    async fn begin(market: &Market) -> Outcome<Self> {
        let id = "spiffe://market.example/reports";
        let add = ["/usr/bin/avouch", "entry", "add", id, "--ttl", AUTHORITY_LIFE];
        market.issuer.exec(&add).await?.success("adding an entry")?;
        let reports = market.service("reports").start().await?;
        market.issuer.exec(&["/usr/bin/avouch", "entry", "rm", id]).await?.success("removing the entry")?;
        // It may have renewed before its entry was gone; after that there is no other.
        let records = market.issuer.records().await?;
        let issued = |it: &&Value| it["message"] == "certificate issued" && it["spiffe_id"] == id;
        let last =
            records.iter().rfind(issued).ok_or_else(|| Failure::new("nothing was issued to 'reports'"))?;
        let in_use = |it: &Value| it["message"] == "SVID in use" && it["serial"] == last["serial"];
        reports.record("its certificate", in_use).await?;
        Ok(Self { serial: last["serial"].clone(), issued: time(last) })
    }

    /// After the time `since` the ledger has taken new connections with it, until it has ended.
    async fn is_taken_to_its_end(&self, ledger: &Node, since: &str) -> Outcome {
        let later = |it: &Value, message: &str| it["message"] == message && *time(it) > *since;
        let taken = |it: &Value| later(it, "connection accepted") && it["serial"] == self.serial;
        ledger.record("a connection with a chain of the former authority", taken).await?;
        let refused = |it: &Value| later(it, "connection refused") && it["reason"] == "CERT_EXPIRED";
        let refusal = ledger.record("its end", refused).await?;
        let named =
            refusal["detail"].as_str().is_some_and(|detail| detail.contains("market.example/reports"));
        ensure(named, format!("somebody else's has ended: {refusal}"))
    }
}

/// Which authority has signed which certificates, by the issuer's records.
struct Signed {
    by_serial: BTreeMap<String, String>,
}

impl Signed {
    async fn at(issuer: &Node) -> Outcome<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let records = issuer.records().await?;
        let issued = records.iter().filter(|record| record["message"] == "certificate issued");
        let by_serial = issued.map(|record| (text(&record["serial"]), text(&record["authority"])));
        Ok(Self { by_serial: by_serial.collect() })
    }

    /// The authorities behind the certificates that a service has accepted.
    async fn accepted_by(&self, service: &Node) -> Outcome<BTreeSet<&String>> {
        let records = service.records().await?;
        let accepted = records.iter().filter(|record| record["message"] == "connection accepted");
        Ok(accepted.filter_map(|record| self.by_serial.get(record["serial"].as_str()?)).collect())
    }

    /// Fails unless each certificate is in the issuer's inventory.
    async fn is_on_record(&self, issuer: &Node) -> Outcome {
        let listed = issuer.exec(&["/usr/bin/avouch", "cert", "list", "--all", "--json"]).await?;
        let listed: Vec<Value> = serde_json::from_str(&listed.success("listing certificates")?)?;
        let listed: BTreeSet<&str> = listed.iter().filter_map(|one| one["serial"].as_str()).collect();
        let missing: Vec<_> =
            self.by_serial.keys().filter(|serial| !listed.contains(serial.as_str())).collect();
        ensure(missing.is_empty(), format!("not in the inventory: {missing:?}"))
    }
}
