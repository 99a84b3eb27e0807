//! Every series of the `/metrics` page: Prometheus names, base units, and label sets bounded by construction (methods
//! of the contract, the sixteen gRPC statuses, our own words). No SPIFFE ID is ever a label.
//!
//! What is counted once per call is resolved up front or on first use; afterwards it is an atomic operation.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    TextEncoder,
};

use crate::TelemetryError;

/// Upper bounds of the RPC duration histograms, in seconds.
const DURATION_BUCKETS: &[f64] =
    &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The labels of a series that has none.
const NO_LABELS: &[&str] = &[];

/// The verdict of an authorization decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The call was let through.
    Allow,
    /// The call was refused.
    Deny,
    /// It was decided against and let through: the policy is in audit mode there.
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

struct Series {
    registry: Registry,
    allowed: IntCounter,
    decisions: IntCounterVec,
    handshakes: IntCounterVec,
    connections_ended: IntCounterVec,
    requests_refused: IntCounterVec,
    svid_not_before: Gauge,
    svid_not_after: Gauge,
    renewals: IntCounterVec,
    trust_stream: GaugeVec,
    bundle_sequence: Gauge,
    spans_exported: IntCounter,
    spans_lost: IntCounter,
    server_duration: HistogramVec,
    client_duration: HistogramVec,
}

impl Series {
    /// Shows from the start, with 0, what alerts look at: `increase()` does not see the step from absent to 1.
    fn begin(&self) -> Result<(), prometheus::Error> {
        for result in ["success", "failure"] {
            self.renewals.get_metric_with_label_values(&[result])?;
        }
        self.handshakes.get_metric_with_label_values(&["accepted", ""])?;
        Ok(())
    }
}

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
        Self::register(service, version).map_err(TelemetryError::Metrics)
    }

    fn register(service: &str, version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let decisions = counters(
            &registry,
            "avouch_decisions_total",
            "Authorization decisions by verdict and reason",
            &["verdict", "reason"],
        )?;
        let series = Series {
            allowed: decisions.get_metric_with_label_values(&[Verdict::Allow.as_str(), ""])?,
            decisions,
            handshakes: counters(
                &registry,
                "avouch_handshakes_total",
                "TLS handshakes of incoming connections by result and reason",
                &["result", "reason"],
            )?,
            connections_ended: counters(
                &registry,
                "avouch_connections_ended_total",
                "Incoming connections closed for what their peer did, by reason",
                &["reason"],
            )?,
            requests_refused: counters(
                &registry,
                "avouch_requests_refused_total",
                "Requests answered before any service saw them, since they break a rule of HTTP or gRPC, by HTTP status",
                &["status"],
            )?,
            svid_not_before: gauge(
                &registry,
                "avouch_svid_not_before_timestamp_seconds",
                "When the current X509-SVID begins, in seconds since the epoch",
            )?,
            svid_not_after: gauge(
                &registry,
                "avouch_svid_not_after_timestamp_seconds",
                "When the current X509-SVID ends, in seconds since the epoch",
            )?,
            renewals: counters(
                &registry,
                "avouch_svid_renewals_total",
                "Attempts to renew the X509-SVID by result",
                &["result"],
            )?,
            // Without labels, yet a vector: the series is there only once something has been told of.
            trust_stream: gauges(
                &registry,
                "avouch_trust_stream_up",
                "Whether the stream of trust bundles from the issuer is up; absent where there is no issuer to follow",
                &[],
            )?,
            bundle_sequence: gauge(
                &registry,
                "avouch_trust_bundle_sequence",
                "Sequence number of the trust bundle in use for the own trust domain",
            )?,
            spans_exported: counter(
                &registry,
                "avouch_spans_exported_total",
                "Spans delivered to the collector",
            )?,
            spans_lost: counter(&registry, "avouch_spans_lost_total", "Spans the collector did not take")?,
            server_duration: durations(
                &registry,
                "rpc_server_call_duration_seconds",
                "Duration of served RPCs",
            )?,
            client_duration: durations(
                &registry,
                "rpc_client_call_duration_seconds",
                "Duration of made RPCs",
            )?,
            registry,
        };
        gauge(
            &series.registry,
            "process_start_time_seconds",
            "When the process started, in seconds since the epoch",
        )?
        .set(seconds(opentelemetry::time::now()));
        let info = gauges(
            &series.registry,
            "avouch_build_info",
            "Always 1; the service and its version",
            &["service", "version"],
        )?;
        info.get_metric_with_label_values(&[service, version])?.set(1.0);
        series.begin()?;
        Ok(Self(Arc::new(series)))
    }

    /// The registry, for series of a service's own.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Counts an authorization decision. `reason` is a word of the vocabulary of reasons, or empty for an allow.
    pub fn decision(&self, verdict: Verdict, reason: &'static str) {
        if verdict == Verdict::Allow && reason.is_empty() {
            self.0.allowed.inc();
        } else {
            self.0.decisions.with_label_values(&[verdict.as_str(), reason]).inc();
        }
    }

    /// Counts a finished handshake. `reason` is empty for an accepted one.
    pub fn handshake(&self, result: &'static str, reason: &'static str) {
        self.0.handshakes.with_label_values(&[result, reason]).inc();
    }

    /// Counts an accepted connection that was closed for what its peer did.
    pub fn connection_ended(&self, reason: &'static str) {
        self.0.connections_ended.with_label_values(&[reason]).inc();
    }

    /// Counts a request that was answered with an HTTP status of 400, 405 or 415 before any service saw it.
    pub fn request_refused(&self, status: u16) {
        let label = match status {
            405 => "405",
            415 => "415",
            // Bounded: there are no others.
            _ => "400",
        };
        self.0.requests_refused.with_label_values(&[label]).inc();
    }

    /// Notes from when until when the current SVID is valid.
    pub fn svid(&self, not_before: SystemTime, not_after: SystemTime) {
        self.0.svid_not_before.set(seconds(not_before));
        self.0.svid_not_after.set(seconds(not_after));
    }

    /// Notes whether the trust stream from the issuer is up.
    pub fn trust_stream(&self, up: bool) {
        self.0.trust_stream.with_label_values(NO_LABELS).set(f64::from(u8::from(up)));
    }

    /// Notes the sequence number of the own trust domain's bundle.
    pub fn trust_bundle(&self, sequence: u64) {
        // Exact up to 2^53 changes.
        #[expect(clippy::cast_precision_loss, reason = "the page's numbers are floating-point")]
        self.0.bundle_sequence.set(sequence as f64);
    }

    /// Counts an attempt to renew the SVID.
    pub fn svid_renewal(&self, succeeded: bool) {
        let result = if succeeded { "success" } else { "failure" };
        self.0.renewals.with_label_values(&[result]).inc();
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
        let counter = if delivered { &self.0.spans_exported } else { &self.0.spans_lost };
        counter.inc_by(spans as u64);
    }

    pub(crate) fn server_duration(&self) -> &HistogramVec {
        &self.0.server_duration
    }

    pub(crate) fn client_duration(&self) -> &HistogramVec {
        &self.0.client_duration
    }
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    let gauge = Gauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    let gauges = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

fn durations(registry: &Registry, name: &str, help: &str) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec());
    let durations = HistogramVec::new(options, &["rpc_method", "rpc_response_status_code"])?;
    registry.register(Box::new(durations.clone()))?;
    Ok(durations)
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
    fn a_time_before_the_epoch_is_zero_and_no_panic() {
        assert!(seconds(UNIX_EPOCH - Duration::from_secs(1)).abs() < f64::EPSILON);
    }

    #[test]
    fn debug_says_nothing_of_the_series() {
        assert_eq!(format!("{:?}", Metrics::new("a", "0").unwrap()), "Metrics { .. }");
    }
}
