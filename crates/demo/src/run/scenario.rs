//! What happens to the market while the orders flow: kills, hostile callers, a look from outside, renewals.

use std::collections::BTreeMap;
use std::time::Duration;

use super::verdicts::Stream;
use super::{Own, Run, SCENARIO};
use crate::external::{self, Target};
use crate::facts::{Kill, Outcome, Refusal};
use crate::orders::Feed;
use crate::place::{SERVICES, id};
use crate::restarts::{self, Down};
use crate::setup::SetupError;
use crate::wait;

/// Renewals of each service that have to be seen.
const RENEWALS: usize = 2;

impl Run<'_> {
    /// All that happens at the same time.
    pub(super) async fn scenario(
        &self,
        own: &Own,
        feed: &Feed,
        ingress_port: u16,
    ) -> Result<(Vec<Kill>, Vec<Refusal>), SetupError> {
        let (kills, refusals, (), ()) = tokio::try_join!(
            self.kills(feed),
            self.attacks(own),
            self.seen_from_outside(ingress_port, feed),
            self.renewals(feed)
        )?;
        Ok((kills, refusals))
    }

    async fn kills(&self, feed: &Feed) -> Result<Vec<Kill>, SetupError> {
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
            // In the middle of the stream, and the issuer while others renew.
            self.reach("the stream of orders runs", async || {
                feed.sent() >= 20 || feed.sent() > 0 && ms() > 8_000
            })
            .await?;
            let ledger = restarts::kill(self.market, "ledger", Down::AtOnce, ms).await?;
            let seen = format!("kill -9, ready again {} ms later", ledger.ready_ms - ledger.killed_ms);
            self.checks.note("the ledger comes back at once", Ok::<_, String>(seen));
            self.reach("a service has renewed", async || self.renewed().await.values().any(|n| *n > 0))
                .await?;
            let issuer = restarts::kill(self.market, "issuer", Down::AtOnce, ms).await?;
            let seen = format!("kill -9, ready again {} ms later", issuer.ready_ms - issuer.killed_ms);
            self.checks.note("the issuer comes back at once", Ok::<_, String>(seen));
            Ok::<_, SetupError>((ledger, issuer))
        };
        let (reports, (ledger, issuer)) = tokio::try_join!(reports, others)?;
        Ok(vec![reports, ledger, issuer])
    }
    /// openssl and curl at the storefront's ingress.
    async fn seen_from_outside(&self, port: u16, feed: &Feed) -> Result<(), SetupError> {
        let file = self.market.place.shipped("order.json");
        let order = std::fs::read_to_string(&file);
        let order = order
            .map_err(|source| SetupError::System { action: format!("read {}", file.display()), source })?;
        let target = Target { certs: self.market.place.certs.clone(), port, order };
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

    /// Renewals so far, by service. The issuer may be away at this moment: then nothing is known.
    async fn renewed(&self) -> BTreeMap<&'static str, usize> {
        let certificates = self.market.admin.certificates().await.unwrap_or_default();
        let count = |name: &str| {
            let own = id(name);
            certificates.iter().filter(|c| c.spiffe_id == own && c.origin == "renew").count()
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
        let file = self.market.place.of_process("storefront").join("result.json");
        let read = async || {
            let text = std::fs::read(&file).map_err(|error| error.to_string())?;
            serde_json::from_slice(&text).map_err(|error| error.to_string())
        };
        Ok(wait::until("the storefront has worked the stream off", SCENARIO, read).await?)
    }
}
