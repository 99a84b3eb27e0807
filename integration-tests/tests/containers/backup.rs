//! The issuer is lost with its volume, and comes back from a backup that was made while it ran. Nobody joins again: who
//! had a certificate when the backup was made renews it, and so does who got one later, of whom the backup knows
//! nothing but the entry.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Node, Outcome, Volume, World, ensure, scenario};
use crate::market::{self, LOAD_STOCK, Market, url};

pub(crate) const STATE: &str = "/var/lib/avouch";

/// Nobody renews between the backup and the loss, and everybody after it.
const SVID_LIFE: &str = "svid_ttl = \"40s\"";
/// Who comes after the backup renews before the others.
const LATE_LIFE: &str = "20s";

#[test]
fn a_restored_issuer_renews_whom_the_backup_knows_and_who_came_later_and_nobody_joins_again() -> Outcome {
    scenario("backup", |world| async move { lose_and_restore(&world).await })
}

async fn lose_and_restore(world: &Arc<World>) -> Outcome {
    let market = Market::begin(world, SVID_LIFE).await?;
    let [ledger, payments] = market.start(["ledger", "payments"]).await?;
    let late = ["/usr/bin/avouch", "entry", "add", "spiffe://market.example/inventory", "--ttl", LATE_LIFE];
    market.issuer.exec(&late).await?.success("adding an entry")?;
    let (bundle, inventory) = (bundle(&market.issuer).await?, serials(&market.issuer).await?);

    let folder = tempfile::tempdir()?;
    let backup = folder.path().join("issuer-backup.tar");
    back_up(&market.issuer, &backup).await?;
    charged(&market, &payments, "order-1").await?;
    let latecomer = market.service("inventory").start().await?;
    market.issuer.destroy().await?;

    let restored = world.volume("restored").await?;
    restore(world, &restored, &backup).await?;
    let issuer = market::issuer(world, "issuer", "market.example", SVID_LIFE).volume(&restored, STATE);
    let market = Market::behind(world, issuer.start().await?).await?;
    ensure(self::bundle(&market.issuer).await? == bundle, "the restored issuer has other roots")?;
    let missing: Vec<_> = inventory.difference(&serials(&market.issuer).await?).cloned().collect();
    ensure(missing.is_empty(), format!("lost from the inventory: {missing:?}"))?;
    a_second_issuer_is_refused(world, &restored).await?;

    goes_on(&[&latecomer, &ledger, &payments], &market.issuer).await?;
    let lost = |record: &Value| {
        record["spiffe_id"] == "spiffe://market.example/inventory"
            && record["message"] == "a certificate is taken that the restored store does not know"
    };
    market.issuer.record("the latecomer's certificate", lost).await?;
    charged(&market, &payments, "order-2").await?;
    let stock = market.answer("stock", "auditor", &["stock", &url(&latecomer), "LOAD-0001"]).await?;
    ensure(stock["on_hand"] == LOAD_STOCK, format!("another warehouse: {stock}"))
}

/// Frozen while it is copied, so that all files are of one moment; connections stay open.
pub(crate) async fn back_up(issuer: &Node, backup: &Path) -> Outcome {
    issuer.pause().await?;
    let copied = docker(&["cp", &format!("{}:{STATE}/issuer", issuer.host()), "-"], None, Some(backup)).await;
    issuer.resume().await?;
    copied
}

/// Into an empty volume, before an issuer starts on it; owners and modes are as they were.
pub(crate) async fn restore(world: &World, volume: &Volume, backup: &Path) -> Outcome {
    let helper = world.node("restorer", "test-peers").command(["listen", "7000", "x"]).volume(volume, STATE);
    let helper = helper.start().await?;
    docker(&["cp", "-", &format!("{}:{STATE}", helper.host())], Some(backup), None).await?;
    for (file, expected) in [
        ("issuer", "65532:65532 0700"),
        ("issuer/root.key", "65532:65532 0600"),
        ("issuer/signing.pem", "65532:65532 0600"),
        ("issuer/store.db", "65532:65532 0600"),
    ] {
        let found =
            helper.exec(&["/usr/bin/probe", "stat", &format!("{STATE}/{file}")]).await?.success(file)?;
        ensure(found.trim() == expected, format!("{file} should be {expected}: {found}"))?;
    }
    Ok(())
}

/// The command as a person would give it.
async fn docker(arguments: &[&str], input: Option<&Path>, output: Option<&Path>) -> Outcome {
    let stdin = input.map(File::open).transpose()?.map_or_else(Stdio::null, Stdio::from);
    let stdout = output.map(File::create).transpose()?.map_or_else(Stdio::null, Stdio::from);
    let mut command = Command::new("docker");
    command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped());
    let ended = command.spawn()?.wait_with_output().await?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure(ended.status.success(), format!("docker {}: {said}", arguments.join(" ")))
}

async fn a_second_issuer_is_refused(world: &World, volume: &Volume) -> Outcome {
    let second = market::issuer(world, "issuer-2", "market.example", SVID_LIFE).volume(volume, STATE);
    let ended = second.start().await?.finished(Duration::from_secs(20)).await?;
    let said = ended.stderr.contains("another process uses /var/lib/avouch/issuer");
    ensure(ended.status == 1 && said, format!("a second issuer should not start: {ended:?}"))
}

/// Each gets a fresh certificate from the restored issuer, by the one it has.
async fn goes_on(services: &[&Arc<Node>], issuer: &Node) -> Outcome {
    for service in services {
        let issued = |record: &Value| {
            record["message"] == "certificate issued"
                && record["spiffe_id"] == format!("spiffe://market.example/{}", service.name())
        };
        let renewal = issuer.record(&format!("a certificate of '{}'", service.name()), issued).await?;
        let used = |it: &Value| it["message"] == "SVID in use" && it["serial"] == renewal["serial"];
        service.record("its use", used).await?;
        let records = service.records().await?;
        let joined = records.iter().filter(|record| record["how"] == "enroll").count();
        ensure(joined == 1, format!("'{}' has joined {joined} times", service.name()))?;
    }
    Ok(())
}

async fn charged(market: &Market, payments: &Node, key: &str) -> Outcome {
    let state = market.answer(key, "orders", &["charge", &url(payments), key]).await?;
    ensure(state["state"] == "CHARGE_STATE_POSTED", format!("{key} is not posted: {state}"))
}

async fn bundle(issuer: &Node) -> Outcome<String> {
    issuer.exec(&["/usr/bin/avouch", "bundle", "show", "--json"]).await?.success("the bundle")
}

/// Of all certificates that the issuer knows.
async fn serials(issuer: &Node) -> Outcome<BTreeSet<String>> {
    let listed = issuer.exec(&["/usr/bin/avouch", "cert", "list", "--all", "--json"]).await?;
    let listed: Vec<Value> = serde_json::from_str(&listed.success("listing certificates")?)?;
    Ok(listed.iter().filter_map(|one| one["serial"].as_str().map(str::to_owned)).collect())
}
