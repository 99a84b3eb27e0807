//! Spans of the transport (h2, hyper, tonic, rustls, tower): a process on the shell makes none, however its telemetry is
//! configured. Made and thrown away they would cost a third of a server's CPU.
//!
//! A process has one subscriber, so each configuration has a process of its own: this program, which runs one test.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avouch_service::Boot;
use avouch_testkit::program::alone;
use support::{Ca, appears, channel, client};
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Instrument as _, Level, Metadata, Subscriber};

/// Where the process of one configuration finds its `[telemetry]` section.
const SECTION: &str = "AVOUCH_TEST_SECTION";

/// Where it finds the level that the log and the export together need.
const LEVEL: &str = "AVOUCH_TEST_LEVEL";

/// Filters, and the level each needs. The transport warns by default, whatever the others may say.
const FILTERS: [(&str, LevelFilter); 11] = [
    ("", LevelFilter::INFO),
    ("off", LevelFilter::WARN),
    ("error", LevelFilter::WARN),
    ("inof", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
    ("h2=trace", LevelFilter::TRACE),
    ("info,hyper_util=debug,tower=debug", LevelFilter::DEBUG),
    ("info,h2[FramedRead::next]=trace", LevelFilter::TRACE),
    ("[{stream}]=debug", LevelFilter::DEBUG),
    // Which spans have the value is not known before it is recorded.
    ("info,orders[checkout{id=1}]=debug", LevelFilter::TRACE),
];

/// The ratios of sampled traces with an endpoint; without one nothing is exported.
// The share between is one that samples the one call of a process practically never.
const EXPORTS: [Option<f64>; 4] = [None, Some(0.0), Some(0.000_001), Some(1.0)];

/// A process with this configuration, which fails if a span of the transport is made.
fn process(
    ca: &Ca,
    format: &str,
    (filter, level): (&str, LevelFilter),
    ratio: Option<f64>,
) -> (String, Child) {
    let mut section = format!("[telemetry]\nlog_format = '{format}'\n");
    let mut level = level;
    if let Some(ratio) = ratio {
        section.push_str(&format!("otlp_endpoint = 'http://127.0.0.1:1'\nsampling_ratio = {ratio:?}\n"));
        // Spans and events are exported from this level on.
        level = level.max(LevelFilter::INFO);
    }
    if format == "off" {
        level = LevelFilter::OFF;
    }
    let mut command = alone(std::env::current_exe().unwrap(), ca.directory.path());
    command.args(["--exact", "a_process_of_one_configuration", "--nocapture"]);
    command.env(SECTION, &section).env(LEVEL, level.to_string()).env("RUST_LOG", filter);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    (format!("RUST_LOG={filter} {section}"), child)
}

#[test]
fn no_configuration_makes_a_span_of_the_transport() {
    let ca = Ca::new();
    let mut configurations = Vec::new();
    for export in EXPORTS {
        configurations.extend(FILTERS.map(|filter| ("json", filter, export)));
    }
    for export in [None, Some(1.0)] {
        configurations.extend(["text", "auto", "off"].map(|format| (format, FILTERS[0], export)));
    }
    for some in configurations.chunks(4) {
        let processes: Vec<_> =
            some.iter().map(|(format, filter, export)| process(&ca, format, *filter, *export)).collect();
        for (name, child) in processes {
            let output = child.wait_with_output().unwrap();
            let (stdout, stderr) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{name}: {stdout}\n{stderr}");
            assert!(stdout.contains("1 passed"), "{name}: {stdout}");
        }
    }
}

/// Nothing, unless the test above runs it.
#[tokio::test]
async fn a_process_of_one_configuration() {
    let Ok(section) = std::env::var(SECTION) else { return };
    let level: LevelFilter = std::env::var(LEVEL).unwrap().parse().unwrap();
    let ca = Ca::new();
    let (path, svid) = (ca.path("address.json"), ca.svid("orders", Duration::from_secs(3600)));
    let config = format!("{svid}{section}[service]\naddress_file = {path:?}\n");
    let boot = Boot::new("orders", &[], &ca.launch(&config)).await.unwrap();
    assert_eq!(LevelFilter::current(), level);

    assert_no_transport_span();
    let is_sampled = section.contains("ratio = 1.0") && level != LevelFilter::OFF;
    let handler = async {
        assert_no_transport_span();
        assert!(tracing::debug_span!("handler").is_disabled());
        !tracing::info_span!("handler").is_disabled()
    };
    assert_eq!(boot.telemetry().tracing().scope("call", None, handler).await, is_sampled);

    let made = Made::default();
    let _guard = tracing::subscriber::set_default(Counting::around_the_subscriber(made.clone(), level));
    let app = boot.start().await.unwrap();
    let tracing = app.tracing().clone();
    tokio::spawn(app.serve(Routes::default()));
    let addresses: serde_json::Value = serde_json::from_str(&appears(&path).await).unwrap();
    let address = addresses["grpc"].as_str().unwrap().parse().unwrap();
    let mut caller = HealthClient::new(channel(&client(&ca).await, address));
    let call = async {
        let span = tracing::info_span!(target: "handler", "call");
        caller.check(HealthCheckRequest::default()).instrument(span).await.unwrap();
    };
    tracing.scope("call", None, call).await;
    let expected: &[&str] = if is_sampled { &["handler"] } else { &[] };
    assert_eq!(made.targets(), expected, "spans that were made around a call");
}

/// Tries spans of each crate of the transport, at each level.
fn assert_no_transport_span() {
    macro_rules! try_spans {
        ($($target:literal)*) => {$(
            for span in [
                tracing::span!(target: $target, Level::TRACE, "FramedRead::next", stream = 1),
                tracing::span!(target: $target, Level::DEBUG, "frame", stream = 1),
                tracing::span!(target: $target, Level::INFO, "checkout", id = 1),
                tracing::span!(target: $target, Level::WARN, "warned"),
                tracing::span!(target: $target, Level::ERROR, "failed"),
            ] {
                assert!(span.is_disabled(), "{:?}", span.metadata());
            }
        )*};
    }
    try_spans!(
        "h2" "h2::codec::framed_read" "hyper" "hyper::proto::h2::server" "hyper_util::client" "opentelemetry"
        "opentelemetry_otlp" "opentelemetry_sdk::trace" "rustls::conn" "tonic::transport" "tower::buffer::worker"
    );
}

/// The targets of spans.
#[derive(Clone, Default)]
struct Made(Arc<Mutex<Vec<&'static str>>>);

impl Made {
    fn targets(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// The process's subscriber, which asks it everything, and notes which spans are made on this thread.
struct Counting {
    made: Made,
    inner: Dispatch,
    level: LevelFilter,
}

impl Counting {
    fn around_the_subscriber(made: Made, level: LevelFilter) -> Self {
        let inner = tracing::dispatcher::get_default(Dispatch::clone);
        Self { made, inner, level }
    }
}

impl Subscriber for Counting {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.inner.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.made.0.lock().unwrap().push(span.metadata().target());
        self.inner.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.inner.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.inner.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.inner.event(event);
    }

    fn enter(&self, span: &Id) {
        self.inner.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.inner.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.inner.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.inner.try_close(id)
    }
}
