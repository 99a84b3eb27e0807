//! Every service in two replicas that share its volume, and each of them restarted in turn under load, the issuer
//! too: no call fails at a caller that never tries twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Node, Outcome, Volume, World, ensure, scenario};
use crate::market::{Market, ready, upstreams};

/// Longer than thirteen restarts take on a machine that is busy with other scenarios: five seconds each.
const LOAD: Duration = Duration::from_secs(100);

const SERVICES: [&str; 6] = ["ledger", "inventory", "payments", "orders", "reports", "storefront"];

const REPLICAS: [&str; 2] = ["a", "b"];

#[test]
fn every_replica_of_every_service_and_the_issuer_restart_under_load_and_no_call_fails() -> Outcome {
    scenario("rolling_restart", |world| async move {
        let market = Market::begin(&world, "svid_ttl = \"60s\"").await?;
        let fleet = Fleet::start(&world, &market).await?;
        let seconds = LOAD.as_secs().to_string();
        let shopping = ["shop", &url("storefront"), &seconds, "4", "ord-front"];
        let placing = ["orders", &url("orders"), &seconds, "4", "ord-back"];
        let reading = ["reads", &url("ledger"), &seconds, "4"];
        let summing = ["summaries", &url("reports"), &seconds, "2"];
        let loads = [
            market.load("shopping", "dev", &shopping).await?,
            market.load("placing", "storefront", &placing).await?,
            market.load("reading", "auditor", &reading).await?,
            market.load("summing", "auditor", &summing).await?,
        ];
        for node in &fleet.nodes {
            restart(node).await?;
        }
        restart(&market.issuer).await?;
        for load in &loads {
            let goes_on = load.output().await?.0.is_empty();
            ensure(goes_on, format!("'{}' has ended before the last restart", load.name()))?;
        }
        for load in loads {
            let report = load.finished(LOAD + Duration::from_secs(60)).await?.success(load.name())?;
            let report: Value = serde_json::from_str(&report)?;
            ensure(report["failed"] == 0, format!("'{}': calls have failed: {report}", load.name()))?;
            if !report["ends"].is_null() {
                let all = report["ends"]["completed"] == report["calls"];
                ensure(all, format!("'{}': orders are not completed: {report}", load.name()))?;
            }
        }
        Ok(())
    })
}

/// SIGTERM, its drain and end, and the next life.
async fn restart(node: &Node) -> Outcome {
    let seen = node.records().await?.len();
    node.stop().await?;
    node.start().await?;
    node.record_after(seen, "serving again", ready).await.map(drop)
}

/// All replicas, each service under one name.
struct Fleet<'a> {
    market: &'a Market,
    nodes: Vec<Arc<Node>>,
}

impl<'a> Fleet<'a> {
    async fn start(world: &World, market: &'a Market) -> Outcome<Self> {
        let mut fleet = Self { market, nodes: Vec::new() };
        for service in SERVICES {
            let data = world.volume(service).await?;
            for replica in REPLICAS {
                // Sums of the book are no common store: each replica follows the ledger by itself.
                let own = if service == "reports" {
                    Some(world.volume(&format!("reports-{replica}")).await?)
                } else {
                    None
                };
                fleet.start_one(service, replica, own.as_ref().unwrap_or(&data)).await?;
            }
        }
        Ok(fleet)
    }

    async fn start_one(&mut self, service: &str, replica: &str, data: &Volume) -> Outcome {
        let name = format!("{service}-{replica}");
        let spec = self
            .market
            .service(service)
            .named(&name)
            .volume(data, "/var/lib/avouch")
            // Each replica has an identity of its own; what it works with, all share.
            .set("IDENTITY__STATE_DIR", format!("/var/lib/avouch/identity-{replica}"));
        let spec = upstreams(service)
            .iter()
            .fold(spec, |spec, upstream| spec.upstream(upstream, &format!("{upstream}.fleet:7001")));
        let node = spec.start().await?;
        node.alias(&format!("{service}.fleet")).await?;
        self.nodes.push(node);
        Ok(())
    }
}

/// The name that all replicas of a service share.
fn url(service: &str) -> String {
    format!("https://{service}.fleet:7001")
}
