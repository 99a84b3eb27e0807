//! Every series of the `/metrics` page: Prometheus names, base units, and label sets bounded by construction (methods
//! of the contract, the sixteen gRPC statuses, our own words). No SPIFFE ID is ever a label.
//!
//! What is counted once per call is resolved up front or on first use; afterwards it is an atomic operation.

mod series;
mod shares;
mod trust;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Encoder, HistogramVec, Registry, TextEncoder};

use self::series::Series;
pub use self::shares::ShareReading;
use self::shares::ShareSeries;
pub use self::trust::TrustReading;
use self::trust::TrustSeries;
use crate::TelemetryError;

/// The labels of a series that has none.
const NO_LABELS: &[&str] = &[];

/// The verdict of an authorization decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The call was let through.
    Allow,
    /// The call was refused.
    Deny,
    /// The call would be denied, but was let through: the policy is in audit mode there.
    Audit,
}

impl Verdict {
    /// The word used in labels and span attributes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Audit => "audit",
        }
    }
}

/// Handle to a process's metrics; clones share the series.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// A fresh registry with all of avouch's series. `service` and `version` show in `avouch_build_info`.
    ///
    /// # Errors
    /// Fails only when a series cannot be registered, which is a defect of this crate.
    pub fn new(service: &str, version: &str) -> Result<Self, TelemetryError> {
        let series = Series::register(service, version).map_err(TelemetryError::Metrics)?;
        Ok(Self(Arc::new(series)))
    }

    /// The registry, for series of a service's own.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Exports a listener's resources and their use, as `read` reports them on each scrape.
    ///
    /// # Errors
    /// When another listener's are shown already.
    pub fn watch_shares(
        &self,
        read: impl Fn() -> Vec<ShareReading> + Send + Sync + 'static,
    ) -> Result<(), TelemetryError> {
        let series = ShareSeries::new(read).map_err(TelemetryError::Metrics)?;
        self.0.registry.register(Box::new(series)).map_err(TelemetryError::Metrics)
    }

    /// Exports the trust state in use, as `read` reports it on each scrape.
    ///
    /// # Errors
    /// When another identity's is shown already.
    pub fn watch_trust(
        &self,
        read: impl Fn() -> TrustReading + Send + Sync + 'static,
    ) -> Result<(), TelemetryError> {
        let series = TrustSeries::new(read).map_err(TelemetryError::Metrics)?;
        self.0.registry.register(Box::new(series)).map_err(TelemetryError::Metrics)
    }

    /// Counts an authorization decision. `reason` is a word of the vocabulary of reasons, or empty for an allow.
    pub fn decision(&self, verdict: Verdict, reason: &'static str) {
        if verdict == Verdict::Allow && reason.is_empty() {
            self.0.listener.allowed.inc();
        } else {
            self.0.listener.decisions.with_label_values(&[verdict.as_str(), reason]).inc();
        }
    }

    /// Counts a finished handshake. `reason` is empty for an accepted one.
    pub fn handshake(&self, result: &'static str, reason: &'static str) {
        self.0.listener.handshakes.with_label_values(&[result, reason]).inc();
    }

    /// Counts an accepted connection that was closed before its time.
    pub fn connection_ended(&self, reason: &'static str) {
        self.0.listener.connections_ended.with_label_values(&[reason]).inc();
    }

    /// Counts a request that was answered with an HTTP status of 400, 405 or 415 before any service saw it.
    pub fn request_refused(&self, status: u16) {
        let label = match status {
            405 => "405",
            415 => "415",
            // Bounded: there are no other values.
            _ => "400",
        };
        self.0.listener.requests_refused.with_label_values(&[label]).inc();
    }

    /// Notes from when until when the current SVID is valid.
    pub fn svid(&self, not_before: SystemTime, not_after: SystemTime) {
        self.0.identity.svid_not_before.set(seconds(not_before));
        self.0.identity.svid_not_after.set(seconds(not_after));
    }

    /// Notes whether the trust stream from the issuer is up.
    pub fn trust_stream(&self, up: bool) {
        self.0.identity.trust_stream.with_label_values(NO_LABELS).set(f64::from(u8::from(up)));
    }

    /// Notes the sequence number of the own trust domain's bundle.
    pub fn trust_bundle(&self, sequence: u64) {
        // Exact up to 2^53 changes.
        #[expect(clippy::cast_precision_loss, reason = "the page's numbers are floating-point")]
        self.0.identity.bundle_sequence.set(sequence as f64);
    }

    /// Counts an attempt to renew the SVID.
    pub fn svid_renewal(&self, succeeded: bool) {
        let result = if succeeded { "success" } else { "failure" };
        self.0.identity.renewals.with_label_values(&[result]).inc();
    }

    /// All series in the Prometheus text format.
    ///
    /// # Errors
    /// Fails when a service registered a series that cannot be rendered.
    pub fn render(&self) -> Result<String, TelemetryError> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.registry.gather(), &mut text).map_err(TelemetryError::Metrics)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub(crate) fn exported(&self, spans: usize, delivered: bool) {
        let counter = if delivered { &self.0.spans.exported } else { &self.0.spans.lost };
        counter.inc_by(spans as u64);
    }

    pub(crate) fn server_duration(&self) -> &HistogramVec {
        &self.0.server_duration
    }

    pub(crate) fn client_duration(&self) -> &HistogramVec {
        &self.0.client_duration
    }
}

/// Seconds since the epoch; 0 for a time before it.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_shows_what_was_counted_under_prometheus_names() {
        let metrics = Metrics::new("orders", "1.2.3").unwrap();
        metrics.decision(Verdict::Allow, "");
        metrics.decision(Verdict::Deny, "ROLE_MISSING");
        metrics.handshake("refused", "CERT_EXPIRED");
        metrics.connection_ended("RATE_LIMITED");
        metrics.request_refused(415);
        metrics.request_refused(99);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        metrics.svid(at(1_699_996_400), at(1_700_000_000));
        metrics.trust_stream(true);
        metrics.trust_bundle(3);
        metrics.svid_renewal(true);
        metrics.svid_renewal(false);
        let page = metrics.render().unwrap();
        for line in [
            r#"avouch_decisions_total{reason="",verdict="allow"} 1"#,
            r#"avouch_decisions_total{reason="ROLE_MISSING",verdict="deny"} 1"#,
            r#"avouch_handshakes_total{reason="CERT_EXPIRED",result="refused"} 1"#,
            r#"avouch_connections_ended_total{reason="RATE_LIMITED"} 1"#,
            r#"avouch_requests_refused_total{status="415"} 1"#,
            r#"avouch_requests_refused_total{status="400"} 1"#,
            "avouch_svid_not_before_timestamp_seconds 1699996400",
            "avouch_svid_not_after_timestamp_seconds 1700000000",
            "avouch_trust_stream_up 1",
            "avouch_trust_bundle_sequence 3",
            r#"avouch_svid_renewals_total{result="success"} 1"#,
            r#"avouch_svid_renewals_total{result="failure"} 1"#,
            r#"avouch_build_info{service="orders",version="1.2.3"} 1"#,
            "process_start_time_seconds ",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn what_alerts_look_at_is_there_before_anything_happens_and_a_trust_stream_is_not() {
        let metrics = Metrics::new("orders", "1.2.3").unwrap();
        let page = metrics.render().unwrap();
        for line in [
            r#"avouch_svid_renewals_total{result="failure"} 0"#,
            r#"avouch_svid_renewals_total{result="success"} 0"#,
            r#"avouch_handshakes_total{reason="",result="accepted"} 0"#,
            "avouch_spans_lost_total 0",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
        assert!(!page.contains("avouch_trust_stream_up"), "without an issuer there is nothing to be down");
        metrics.trust_stream(false);
        assert!(metrics.render().unwrap().contains("avouch_trust_stream_up 0"));
    }

    #[test]
    fn shares_are_read_when_the_page_is_and_a_page_read_twice_counts_nothing_twice() {
        let metrics = Metrics::new("orders", "1.2.3").unwrap();
        let read =
            || vec![ShareReading { resource: "streams", used: 7, limit: 8, top_holder: 6, refused: 5 }];
        metrics.watch_shares(read).unwrap();
        assert!(metrics.watch_shares(read).is_err());
        for _ in 0..2 {
            let page = metrics.render().unwrap();
            for line in [
                r#"avouch_share_used{resource="streams"} 7"#,
                r#"avouch_share_limit{resource="streams"} 8"#,
                r#"avouch_share_top_holder{resource="streams"} 6"#,
                r#"avouch_share_refused_total{resource="streams"} 5"#,
            ] {
                assert!(page.contains(line), "{line} is missing in\n{page}");
            }
        }
    }

    #[test]
    fn the_trust_state_is_read_when_the_page_is_and_an_issuer_that_is_not_there_is_not_silent() {
        let metrics = Metrics::new("orders", "1.2.3").unwrap();
        let silence = Arc::new(std::sync::Mutex::new(None));
        let reading = silence.clone();
        let read = move || TrustReading {
            epoch: 1_764_547_200,
            counter: 3,
            revocations: 2,
            accepted_ended: 5,
            opened_ended: 1,
            outage_budget_seconds: 47.0,
            issuer_silence_seconds: *reading.lock().unwrap(),
        };
        metrics.watch_trust(read.clone()).unwrap();
        assert!(metrics.watch_trust(read).is_err());
        assert!(!metrics.render().unwrap().contains("avouch_issuer_silence_seconds"));
        *silence.lock().unwrap() = Some(12.5);
        for _ in 0..2 {
            let page = metrics.render().unwrap();
            for line in [
                "avouch_trust_generation_epoch 1764547200",
                "avouch_trust_generation_counter 3",
                "avouch_trust_revocations 2",
                r#"avouch_revoked_connections_ended_total{side="accepted"} 5"#,
                r#"avouch_revoked_connections_ended_total{side="opened"} 1"#,
                "avouch_outage_budget_seconds 47",
                "avouch_issuer_silence_seconds 12.5",
            ] {
                assert!(page.contains(line), "{line} is missing in\n{page}");
            }
        }
    }

    #[test]
    fn a_time_before_the_epoch_is_zero_and_no_panic() {
        assert!(seconds(UNIX_EPOCH - Duration::from_secs(1)).abs() < f64::EPSILON);
    }

    #[test]
    fn debug_says_nothing_of_the_series() {
        assert_eq!(format!("{:?}", Metrics::new("a", "0").unwrap()), "Metrics { .. }");
    }
}
