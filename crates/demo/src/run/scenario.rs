//! What happens to the market while the orders flow: kills, hostile callers, a look from outside, renewals.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::verdicts::{Counted, Stream};
use super::{Hostile, Own, Run, SCENARIO};
use crate::external::{self, Target};
use crate::facts::{Kill, Outcome};
use crate::orders::Feed;
use crate::paths::{SERVICES, id};
use crate::restarts::{self, Down};
use crate::setup::SetupError;
use crate::thief;
use crate::wait;

/// Renewals of each service that have to be seen.
const RENEWALS: usize = 2;

/// What is killed and started again at once, one after the other in the middle of the stream.
const AT_ONCE: [&str; 4] = ["ledger", "orders", "payments", "inventory"];

/// Lines of the stream between two kills, or else the time between them: what one has broken must not hide among
/// what the next one breaks.
const APART: (u64, u64) = (40, 5_000);

impl Run<'_> {
    /// All that happens at the same time.
    pub(super) async fn scenario(
        &self,
        own: &Own,
        feed: &Feed,
        ingress_port: u16,
    ) -> Result<(Vec<Kill>, Hostile), SetupError> {
        // All kills but that of `reports` wait until the hostile and the external callers are done, so that an outage
        // is not mistaken for a refusal.
        let (looked, cut) = (Cell::new(false), Cell::new(false));
        let looks = async {
            let (told, ()) = tokio::try_join!(self.attacks(own), self.seen_from_outside(ingress_port, feed))?;
            let attacks = self.attack_list(own).await?;
            looked.set(true);
            Ok((told, attacks))
        };
        let (kills, ((refusals, explained), mut attacks), late, (theft, again), ()) = tokio::try_join!(
            self.kills(feed, &looked, &cut),
            looks,
            self.late_attacks(),
            self.theft(&cut),
            self.renewals(feed)
        )?;
        attacks.extend(late.into_iter().chain(again));
        attacks.extend(self.attacks_on_every_rpc().await?);
        self.note_attacks(&attacks);
        Ok((kills, Hostile { refusals, explained, attacks, theft }))
    }

    async fn kills(
        &self,
        feed: &Feed,
        looked: &Cell<bool>,
        cut: &Cell<bool>,
    ) -> Result<Vec<Kill>, SetupError> {
        let ms = || self.watch.ms();
        let reports = async {
            let kill = restarts::kill(self.market, "reports", Down::UntilExpired, ms).await?;
            let recovered = self.issued("reports", "recover").await?;
            let away = Duration::from_millis(kill.ready_ms - kill.killed_ms).as_secs_f64();
            let seen = format!("kill -9, {away:.0} s away, back by Recover");
            let seen = if recovered == 1 { Ok(seen) } else { Err(format!("{recovered} recoveries")) };
            self.checks.note("reports comes back after its certificate has expired", seen);
            Ok::<_, SetupError>(kill)
        };
        let others = async {
            self.reach("the stream of orders runs", async || {
                looked.get() && (feed.sent() >= 20 || feed.sent() > 0 && ms() > 8_000)
            })
            .await?;
            let mut kills = Vec::new();
            for name in AT_ONCE {
                kills.push(restarts::kill(self.market, name, Down::AtOnce, ms).await?);
                let (lines, began) = (feed.sent(), ms());
                self.reach("the stream of orders goes on", async || {
                    feed.sent() >= lines + APART.0 || ms() >= began + APART.1
                })
                .await?;
            }
            let claim = format!("{} come back at once, by the identity they have", AT_ONCE.join(", "));
            self.checks.note(&claim, self.resumed(&kills).await?);
            // The issuer while others renew.
            self.reach("a service has renewed", async || self.renewed().await.values().any(|n| *n > 0))
                .await?;
            self.reach("the thief is cut off", async || cut.get()).await?;
            let issuer = restarts::kill(self.market, "issuer", Down::AtOnce, ms).await?;
            let seen = format!("kill -9, ready again {} ms later", issuer.ready_ms - issuer.killed_ms);
            self.checks.note("the issuer comes back at once", Ok::<_, String>(seen));
            kills.push(issuer);
            Ok::<_, SetupError>(kills)
        };
        let (reports, mut kills) = tokio::try_join!(reports, others)?;
        kills.push(reports);
        kills.sort_by_key(|kill| kill.killed_ms);
        Ok(kills)
    }

    /// Kills the storefront when it has worked its stream off, and places an order with its next life.
    pub(super) async fn front_again(&self, own: &Own, feed: &Feed) -> Result<(Kill, Counted), SetupError> {
        let mut counted = self.count("storefront", 0).await?;
        // Only what it has not told yet may be lost with it; if that is never told, the count shows it.
        let told = async || {
            if self.told(&counted) >= counted.calls { Ok(()) } else { Err("not all".to_owned()) }
        };
        let _ = wait::until("the storefront's spans", Duration::from_secs(3), told).await;
        let kill = restarts::kill(self.market, "storefront", Down::AtOnce, || self.watch.ms()).await?;
        counted.to_ms = kill.killed_ms;
        let resumed = self.resumed(std::slice::from_ref(&kill)).await?;
        let ingress = self.market.ingress().await?;
        let open =
            tokio::net::TcpStream::connect(ingress).await.map_err(|error| format!("{ingress}: {error}"));
        let ordered = self.order_by_dev(own, feed, "demo-shopper-2", None).await?;
        let seen =
            resumed.and_then(|seen| open.and(ordered).map(|_| format!("{seen}; an order is completed")));
        self.checks.note("the storefront comes back at once, by the identity it has", seen);
        Ok((kill, counted))
    }

    /// How soon killed services were back; an error when one of them needed more than the identity it had stored.
    async fn resumed(&self, kills: &[Kill]) -> Result<Result<String, String>, SetupError> {
        for kill in kills {
            let (enrolled, recovered) =
                (self.issued(&kill.party, "enroll").await?, self.issued(&kill.party, "recover").await?);
            if (enrolled, recovered) != (1, 0) {
                return Ok(Err(format!("{}: enrolled {enrolled}×, recovered {recovered}×", kill.party)));
            }
        }
        let back: Vec<_> = kills.iter().map(|kill| (kill.ready_ms - kill.killed_ms).to_string()).collect();
        Ok(Ok(format!("kill -9, ready again {} ms later", back.join(", "))))
    }

    /// openssl and curl at the storefront's ingress.
    async fn seen_from_outside(&self, port: u16, feed: &Feed) -> Result<(), SetupError> {
        let file = self.market.paths.shipped("order.json");
        let order = std::fs::read_to_string(&file);
        let order = order
            .map_err(|source| SetupError::System { action: format!("read {}", file.display()), source })?;
        let target = Target { certs: self.market.paths.certs.clone(), port, order };
        for check in external::checks(&target).await {
            if check.claim.starts_with("curl places")
                && check.outcome == Outcome::Held
                && let Ok(order) = serde_json::from_str(&target.order)
            {
                feed.note(order);
            }
            self.checks.add(check);
        }
        Ok(())
    }

    async fn renewals(&self, feed: &Feed) -> Result<(), SetupError> {
        let enough = async || {
            let renewed = self.renewed().await;
            let least =
                SERVICES.iter().map(|name| renewed.get(*name).copied().unwrap_or(0)).min().unwrap_or(0);
            let counts: Vec<_> = renewed.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let all: usize = renewed.values().sum();
            self.console.progress(&format!(
                "{} orders, {all} renewals, at least {least} of each service",
                feed.sent()
            ));
            tokio::time::sleep(Duration::from_millis(250)).await;
            if least >= RENEWALS { Ok(counts.join(", ")) } else { Err(counts.join(", ")) }
        };
        let seen = wait::until("every service has renewed twice", SCENARIO, enough).await;
        self.checks.note("every service renewed at least twice", seen);
        Ok(())
    }

    /// Renewals so far, by service, without those of a thief. The issuer may be away at this moment: then nothing is known.
    async fn renewed(&self) -> BTreeMap<&'static str, usize> {
        let certificates = self.market.admin.certificates().await.unwrap_or_default();
        let thieves =
            self.stolen.get().map(|stolen| thief::thieves(stolen, &certificates)).unwrap_or_default();
        let count = |name: &str| {
            let own = id(name);
            let own = certificates.iter().filter(|c| c.spiffe_id == own && !thieves.contains(&c.serial));
            own.filter(|c| c.origin == "renew").count()
        };
        SERVICES.iter().map(|name| (*name, count(name))).collect()
    }

    async fn issued(&self, name: &str, origin: &str) -> Result<usize, SetupError> {
        let own = id(name);
        let asked = wait::until("the issuer lists its certificates", Duration::from_secs(10), async || {
            self.market.admin.certificates().await.map_err(|status| status.to_string())
        });
        Ok(asked.await?.iter().filter(|c| c.spiffe_id == own && c.origin == origin).count())
    }

    async fn reach(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<(), SetupError> {
        let reached = async || if condition().await { Ok(()) } else { Err("not yet".to_owned()) };
        Ok(wait::until(what, SCENARIO, reached).await?)
    }

    pub(super) async fn stream_end(&self) -> Result<Stream, SetupError> {
        let file = self.market.paths.of_process("storefront").join("result.json");
        let read = async || {
            let text = std::fs::read(&file).map_err(|error| error.to_string())?;
            serde_json::from_slice(&text).map_err(|error| error.to_string())
        };
        Ok(wait::until("the storefront has worked the stream off", SCENARIO, read).await?)
    }
}
