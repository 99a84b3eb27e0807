//! The series themselves: their names, help texts and labels, and how each is registered.

use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::{Verdict, seconds};

/// Upper bounds of the RPC duration histograms, in seconds.
const DURATION_BUCKETS: &[f64] =
    &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All series of a process.
pub(super) struct Series {
    pub(super) registry: Registry,
    pub(super) listener: ListenerSeries,
    pub(super) identity: IdentitySeries,
    pub(super) spans: SpanSeries,
    pub(super) server_duration: HistogramVec,
    pub(super) client_duration: HistogramVec,
}

/// What happens on the listener.
pub(super) struct ListenerSeries {
    /// The series of `decisions` that counts nearly every call.
    pub(super) allowed: IntCounter,
    pub(super) decisions: IntCounterVec,
    pub(super) handshakes: IntCounterVec,
    pub(super) connections_ended: IntCounterVec,
    pub(super) requests_refused: IntCounterVec,
}

/// The SVID and the trust bundle.
pub(super) struct IdentitySeries {
    pub(super) svid_not_before: Gauge,
    pub(super) svid_not_after: Gauge,
    pub(super) renewals: IntCounterVec,
    /// A vector although it has no labels: the series is exported only once it has a value.
    pub(super) trust_stream: GaugeVec,
    pub(super) bundle_sequence: Gauge,
}

/// The export of spans.
pub(super) struct SpanSeries {
    pub(super) exported: IntCounter,
    pub(super) lost: IntCounter,
}

impl Series {
    /// Registers all of them in a fresh registry.
    pub(super) fn register(service: &str, version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        gauge(
            &registry,
            "process_start_time_seconds",
            "When the process started, in seconds since the epoch",
        )?
        .set(seconds(opentelemetry::time::now()));
        let info = gauges(
            &registry,
            "avouch_build_info",
            "Always 1; the service and its version",
            &["service", "version"],
        )?;
        info.get_metric_with_label_values(&[service, version])?.set(1.0);
        Ok(Self {
            listener: ListenerSeries::register(&registry)?,
            identity: IdentitySeries::register(&registry)?,
            spans: SpanSeries::register(&registry)?,
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
        })
    }
}

impl ListenerSeries {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let decisions = counters(
            registry,
            "avouch_decisions_total",
            "Authorization decisions by verdict and reason",
            &["verdict", "reason"],
        )?;
        let handshakes = counters(
            registry,
            "avouch_handshakes_total",
            "TLS handshakes of incoming connections by result and reason",
            &["result", "reason"],
        )?;
        // Starts at 0: `increase()`, which the alerts use, does not see the step from absent to 1.
        handshakes.get_metric_with_label_values(&["accepted", ""])?;
        Ok(Self {
            allowed: decisions.get_metric_with_label_values(&[Verdict::Allow.as_str(), ""])?,
            decisions,
            handshakes,
            connections_ended: counters(
                registry,
                "avouch_connections_ended_total",
                "Incoming connections closed before their time, by reason",
                &["reason"],
            )?,
            requests_refused: counters(
                registry,
                "avouch_requests_refused_total",
                "Requests answered before any service saw them, since they break a rule of HTTP or gRPC, by HTTP status",
                &["status"],
            )?,
        })
    }
}

impl IdentitySeries {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let renewals = counters(
            registry,
            "avouch_svid_renewals_total",
            "Attempts to renew the X509-SVID by result",
            &["result"],
        )?;
        // Starts at 0, as the handshakes above.
        for result in ["success", "failure"] {
            renewals.get_metric_with_label_values(&[result])?;
        }
        Ok(Self {
            svid_not_before: gauge(
                registry,
                "avouch_svid_not_before_timestamp_seconds",
                "When the current X509-SVID begins, in seconds since the epoch",
            )?,
            svid_not_after: gauge(
                registry,
                "avouch_svid_not_after_timestamp_seconds",
                "When the current X509-SVID ends, in seconds since the epoch",
            )?,
            renewals,
            trust_stream: gauges(
                registry,
                "avouch_trust_stream_up",
                "Whether the stream of trust bundles from the issuer is up; absent where there is no issuer to follow",
                &[],
            )?,
            bundle_sequence: gauge(
                registry,
                "avouch_trust_bundle_sequence",
                "Sequence number of the trust bundle in use for the own trust domain",
            )?,
        })
    }
}

impl SpanSeries {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            exported: counter(registry, "avouch_spans_exported_total", "Spans delivered to the collector")?,
            lost: counter(registry, "avouch_spans_lost_total", "Spans the collector did not take")?,
        })
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
