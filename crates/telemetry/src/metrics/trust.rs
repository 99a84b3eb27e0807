//! The trust state in use and how long it lasts without the issuer, read whenever the metrics page is scraped: two of the
//! figures change with every second.

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts};

/// The trust state in use at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrustReading {
    /// The epoch of the generation; 0 where the state comes from no issuer.
    pub epoch: u32,
    /// The counter of the generation.
    pub counter: u32,
    /// The number of revocations in force.
    pub revocations: u64,
    /// How many accepted connections have been ended because their peer was revoked.
    pub accepted_ended: u64,
    /// How many opened connections have been ended because their peer was revoked.
    pub opened_ended: u64,
    /// Seconds until the first certificate fails if the issuer stays away.
    pub outage_budget_seconds: f64,
    /// Seconds since the issuer last said anything; `None`: there is no issuer, or it has never answered.
    pub issuer_silence_seconds: Option<f64>,
}

/// The series of one identity.
pub(super) struct TrustSeries<F> {
    read: F,
    epoch: Gauge,
    counter: Gauge,
    revocations: Gauge,
    ended: IntCounterVec,
    outage_budget: Gauge,
    /// A vector although it has no labels: the series is exported only where there is an issuer.
    issuer_silence: GaugeVec,
    /// Serializes scrapes: two at once would fill the counters twice.
    filling: Mutex<()>,
}

impl<F: Fn() -> TrustReading> TrustSeries<F> {
    pub(super) fn new(read: F) -> Result<Self, prometheus::Error> {
        Ok(Self {
            read,
            epoch: Gauge::new(
                "avouch_trust_generation_epoch",
                "Epoch of the trust state in use; 0 where it comes from no issuer",
            )?,
            counter: Gauge::new("avouch_trust_generation_counter", "Counter of the trust state in use")?,
            revocations: Gauge::new("avouch_trust_revocations", "Revocations in force in this process")?,
            ended: IntCounterVec::new(
                Opts::new(
                    "avouch_revoked_connections_ended_total",
                    "Connections ended because their peer was revoked, by side: accepted here, or opened from here",
                ),
                &["side"],
            )?,
            outage_budget: Gauge::new(
                "avouch_outage_budget_seconds",
                "Seconds until the first certificate fails if the issuer stays away; below zero it has ended",
            )?,
            issuer_silence: GaugeVec::new(
                Opts::new(
                    "avouch_issuer_silence_seconds",
                    "Seconds since the issuer last said anything; 0 while the stream to it is up, absent where there is none",
                ),
                &[],
            )?,
            filling: Mutex::new(()),
        })
    }
}

impl<F: Fn() -> TrustReading + Send + Sync> Collector for TrustSeries<F> {
    fn desc(&self) -> Vec<&Desc> {
        [
            self.epoch.desc(),
            self.counter.desc(),
            self.revocations.desc(),
            self.ended.desc(),
            self.outage_budget.desc(),
            self.issuer_silence.desc(),
        ]
        .concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = (self.read)();
        self.epoch.set(reading.epoch.into());
        self.counter.set(reading.counter.into());
        self.revocations.set(number(reading.revocations));
        self.ended.reset();
        for (side, ended) in [("accepted", reading.accepted_ended), ("opened", reading.opened_ended)] {
            self.ended.with_label_values(&[side]).inc_by(ended);
        }
        self.outage_budget.set(reading.outage_budget_seconds);
        if let Some(silence) = reading.issuer_silence_seconds {
            self.issuer_silence.with_label_values(super::NO_LABELS).set(silence);
        }
        [
            self.epoch.collect(),
            self.counter.collect(),
            self.revocations.collect(),
            self.ended.collect(),
            self.outage_budget.collect(),
            self.issuer_silence.collect(),
        ]
        .concat()
    }
}

#[expect(clippy::cast_precision_loss, reason = "the page's numbers are floating-point, exact up to 2^53")]
fn number(whole: u64) -> f64 {
    whole as f64
}
