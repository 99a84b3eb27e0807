//! The series of the trust state: how far workloads are behind, what is in force, what was sent and returned.

use super::subscribers::Subscribers;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The kinds of what is sent on a trust stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A bundle, for a workload that knows no generations.
    Bundle,
    /// Changes.
    Delta,
    /// A whole state.
    Whole,
}

impl Sent {
    const ALL: [Self; 3] = [Self::Bundle, Self::Delta, Self::Whole];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Delta => "delta",
            Self::Whole => "whole",
        }
    }
}

const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

/// Handles to the series; clones share them.
#[derive(Clone)]
pub(crate) struct TrustMetrics {
    in_force: IntGauge,
    sent: IntCounterVec,
    returned: IntCounterVec,
    lost_changes: IntGauge,
    lag: Lag,
}

impl fmt::Debug for TrustMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustMetrics").finish_non_exhaustive()
    }
}

impl TrustMetrics {
    /// Creates the series.
    ///
    /// # Errors
    /// Fails only when a name is not one, which is a defect of this crate.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            in_force: IntGauge::new("avouch_issuer_revocations_in_force", "Revocations in force")?,
            sent: IntCounterVec::new(
                Opts::new(
                    "avouch_issuer_trust_updates_sent_total",
                    "Messages sent on trust streams, by kind",
                ),
                &["kind"],
            )?,
            returned: IntCounterVec::new(
                Opts::new(
                    "avouch_issuer_returned_revocations_total",
                    "Revocations returned by workloads after a restore, by outcome",
                ),
                &["outcome"],
            )?,
            lost_changes: IntGauge::new(
                "avouch_issuer_lost_trust_changes",
                "Changes of trust that were lost with a restore and that no workload has returned",
            )?,
            lag: Lag::new()?,
        };
        for kind in Sent::ALL {
            metrics.sent.get_metric_with_label_values(&[kind.as_str()])?;
        }
        for outcome in [TAKEN, REFUSED] {
            metrics.returned.get_metric_with_label_values(&[outcome])?;
        }
        Ok(metrics)
    }

    /// Registers the series with `registry`.
    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.in_force.clone()))?;
        registry.register(Box::new(self.sent.clone()))?;
        registry.register(Box::new(self.returned.clone()))?;
        registry.register(Box::new(self.lost_changes.clone()))?;
        registry.register(Box::new(self.lag.clone()))
    }

    /// Measures the lag of these.
    pub(super) fn follow(&self, subscribers: &Subscribers) {
        let _ = self.lag.subscribers.set(subscribers.clone()); // an issuer has one list
    }

    /// Notes the number of revocations in force.
    pub(super) fn in_force(&self, revocations: usize) {
        self.in_force.set(i64::try_from(revocations).unwrap_or(i64::MAX));
    }

    /// Counts a message of a trust stream.
    pub(crate) fn sent(&self, kind: Sent) {
        self.sent.with_label_values(&[kind.as_str()]).inc();
    }

    /// Counts revocations that a workload returned and that are in force again.
    pub(super) fn returned_taken(&self, revocations: usize) {
        self.returned.with_label_values(&[TAKEN]).inc_by(u64::try_from(revocations).unwrap_or(u64::MAX));
    }

    /// Counts revocations that a workload returned and that the issuer never made.
    pub(super) fn returned_refused(&self, revocations: usize) {
        self.returned.with_label_values(&[REFUSED]).inc_by(u64::try_from(revocations).unwrap_or(u64::MAX));
    }

    /// Notes the number of changes that were lost with a restore.
    pub(super) fn lost_changes(&self, changes: u64) {
        self.lost_changes.set(i64::try_from(changes).unwrap_or(i64::MAX));
    }
}

/// The lag of the subscribers, measured when it is asked for, since it grows while nothing happens.
#[derive(Clone)]
struct Lag {
    subscribers: Arc<OnceLock<Subscribers>>,
    behind: IntGauge,
    longest: Gauge,
}

impl Lag {
    fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            subscribers: Arc::default(),
            behind: IntGauge::new(
                "avouch_issuer_trust_processes_behind",
                "Processes with a trust stream that do not use the current generation",
            )?,
            longest: Gauge::new(
                "avouch_issuer_trust_longest_lag_seconds",
                "For how long the process has been behind that has been behind for longest",
            )?,
        })
    }
}

impl Collector for Lag {
    fn desc(&self) -> Vec<&Desc> {
        self.behind.desc().into_iter().chain(self.longest.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let lag = self.subscribers.get().map(Subscribers::lag).unwrap_or_default();
        self.behind.set(i64::try_from(lag.behind).unwrap_or(i64::MAX));
        self.longest.set(lag.longest.as_secs_f64());
        self.behind.collect().into_iter().chain(self.longest.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::subscribers::tests::subscriber;
    use avouch_spiffe::Generation;
    use prometheus::{Encoder, TextEncoder};

    #[test]
    fn the_lag_is_that_of_the_moment_and_every_kind_is_there_from_the_start() {
        let (metrics, registry) = (TrustMetrics::new().unwrap(), Registry::new());
        metrics.register(&registry).unwrap();
        let page = || {
            let mut text = Vec::new();
            TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert!(page().contains("avouch_issuer_trust_processes_behind 0"));
        let all = Subscribers::new(Generation { epoch: 1, counter: 1 });
        metrics.follow(&all);
        let _seat = all.join(subscriber(Some(Generation::NONE)));
        all.published(Generation { epoch: 1, counter: 2 });
        metrics.in_force(3);
        metrics.sent(Sent::Delta);
        metrics.returned_refused(2);
        metrics.lost_changes(4);
        let page = page();
        for line in [
            "avouch_issuer_trust_processes_behind 1",
            "avouch_issuer_trust_longest_lag_seconds 0.0",
            "avouch_issuer_revocations_in_force 3",
            r#"avouch_issuer_trust_updates_sent_total{kind="delta"} 1"#,
            r#"avouch_issuer_trust_updates_sent_total{kind="whole"} 0"#,
            r#"avouch_issuer_trust_updates_sent_total{kind="bundle"} 0"#,
            r#"avouch_issuer_returned_revocations_total{outcome="refused"} 2"#,
            r#"avouch_issuer_returned_revocations_total{outcome="taken"} 0"#,
            "avouch_issuer_lost_trust_changes 4",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
}
