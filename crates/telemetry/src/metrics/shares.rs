//! A listener's bounded resources and their use, read whenever the metrics page is scraped.
//!
//! The holders are shown by `avouch check`, not here: a SPIFFE ID is never a label.

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, Opts};

/// The use of one resource at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareReading {
    /// The name of the resource, as in `connections`: the label.
    pub resource: &'static str,
    /// The amount in use.
    pub used: u64,
    /// The amount available before the top holder gets no more.
    pub limit: u64,
    /// The amount held by the caller and network with the most.
    pub top_holder: u64,
    /// How often a request for more was refused since the listener began.
    pub refused: u64,
}

const LABELS: &[&str] = &["resource"];

/// The series of one listener.
pub(super) struct ShareSeries<F> {
    read: F,
    used: GaugeVec,
    limit: GaugeVec,
    top_holder: GaugeVec,
    refused: IntCounterVec,
    /// Serializes scrapes: two at once would fill the counters twice.
    filling: Mutex<()>,
}

impl<F: Fn() -> Vec<ShareReading>> ShareSeries<F> {
    pub(super) fn new(read: F) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| GaugeVec::new(Opts::new(name, help), LABELS);
        Ok(Self {
            read,
            used: gauge("avouch_share_used", "How much of a resource of the listener is in use")?,
            limit: gauge(
                "avouch_share_limit",
                "How much of a resource of the listener there is before the top holder gets no more",
            )?,
            top_holder: gauge(
                "avouch_share_top_holder",
                "How much of a resource of the listener the caller and network with most hold",
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "avouch_share_refused_total",
                    "How often somebody was refused more of a resource of the listener",
                ),
                LABELS,
            )?,
            filling: Mutex::new(()),
        })
    }
}

impl<F: Fn() -> Vec<ShareReading> + Send + Sync> Collector for ShareSeries<F> {
    fn desc(&self) -> Vec<&Desc> {
        [self.used.desc(), self.limit.desc(), self.top_holder.desc(), self.refused.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        self.refused.reset();
        for reading in (self.read)() {
            let label = &[reading.resource];
            self.used.with_label_values(label).set(number(reading.used));
            self.limit.with_label_values(label).set(number(reading.limit));
            self.top_holder.with_label_values(label).set(number(reading.top_holder));
            self.refused.with_label_values(label).inc_by(reading.refused);
        }
        [self.used.collect(), self.limit.collect(), self.top_holder.collect(), self.refused.collect()]
            .concat()
    }
}

#[expect(clippy::cast_precision_loss, reason = "the page's numbers are floating-point, exact up to 2^53")]
fn number(whole: u64) -> f64 {
    whole as f64
}
