//! Set-up and shut-down of telemetry: once per process, right after its configuration is known.
//!
//! Exporting never feeds on itself: spans of the transport below the exporter are refused by name, and nothing is
//! recorded outside of a sampled context anyway.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, Targets, dynamic_filter_fn, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::Settings;
use crate::log::{Json, Text};
use crate::{LogFormat, Metrics, TelemetryConfig, Tracing, export};

/// Crates below the exporter and the transport: their spans are never exported, their log lines show from `warn` on
/// unless the filter names them; of h2 from `error` on, since it warns of every frame that a peer sends amiss.
const TRANSPORT: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "rustls",
    "tonic",
    "tower",
];

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The log filter cannot be read.
    #[error("the log filter `{filter}` cannot be read")]
    LogFilter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The sampling ratio is not between 0 and 1.
    #[error("sampling_ratio must be between 0 and 1, not {0}")]
    SamplingRatio(f64),
    /// The OTLP endpoint cannot be used.
    #[error("the OTLP endpoint `{endpoint}` cannot be used: {why}")]
    Endpoint {
        /// The endpoint as given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The collector is to be reached over TLS, and nothing says whom to trust.
    #[error("an https OTLP endpoint needs OTEL_EXPORTER_OTLP_CERTIFICATE: a file with the collector's CA")]
    NoCollectorCa,
    /// A file named by the environment cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Export needs a runtime to carry the connection.
    #[error("exporting traces needs a tokio runtime")]
    NoRuntime,
    /// A log subscriber was installed before.
    #[error("a log subscriber is already installed in this process (log_format = \"off\" leaves it alone)")]
    AlreadyInstalled(#[source] tracing_subscriber::util::TryInitError),
    /// A metric could not be registered or rendered.
    #[error("metrics failed")]
    Metrics(#[source] prometheus::Error),
}

/// The telemetry of a process; clones are handles to the same. Call [`Telemetry::shutdown`] at the end.
#[derive(Debug, Clone)]
#[must_use = "spans that still wait are lost unless `shutdown` is called"]
pub struct Telemetry {
    tracing: Tracing,
    metrics: Metrics,
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// The handle that RPC layers are built with.
    #[must_use]
    pub fn tracing(&self) -> &Tracing {
        &self.tracing
    }

    /// The process's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Delivers the spans that still wait, for at most `timeout`. `true` when all went out.
    pub async fn shutdown(&self, timeout: Duration) -> bool {
        let Some(provider) = self.provider.clone() else { return true };
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(timeout));
        let done = tokio::time::timeout(timeout, flush).await;
        matches!(done, Ok(Ok(Ok(()) | Err(OTelSdkError::AlreadyShutdown))))
    }
}

/// Installs logs, traces and metrics for the process. `service_name` is used unless the environment names another.
///
/// # Errors
/// See [`TelemetryError`]. Nothing is installed when it fails.
pub fn init(
    service_name: &str,
    version: &str,
    config: &TelemetryConfig,
) -> Result<Telemetry, TelemetryError> {
    let settings = Settings::resolve(service_name, config, |name| std::env::var(name).ok())?;
    let metrics = Metrics::new(&settings.service_name, version)?;
    let logs = logs(&settings)?;
    let provider = match &settings.endpoint {
        Some(endpoint) => Some(export::provider(endpoint, &settings, &metrics)?),
        None => None,
    };
    let tracing = Tracing::new(provider.as_ref(), settings.sampling, settings.propagate);
    if let Some(logs) = logs {
        let spans = provider.as_ref().map(span_layer);
        tracing_subscriber::registry()
            .with(logs)
            .with(spans)
            .try_init()
            .map_err(TelemetryError::AlreadyInstalled)?;
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    Ok(Telemetry { tracing, metrics, provider })
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// The log layer, or none when the process has its own.
fn logs(settings: &Settings) -> Result<Option<BoxedLayer<Registry>>, TelemetryError> {
    let quiet: String = TRANSPORT.iter().map(|target| format!("{target}=warn,")).collect();
    let quiet = quiet + "h2=error,";
    let filter = EnvFilter::builder()
        .parse(format!("{quiet}{}", settings.log))
        .map_err(|source| TelemetryError::LogFilter { filter: settings.log.clone(), source })?;
    let filter = filter.and(filter_fn(|metadata| metadata.is_event()));
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.log_format {
        LogFormat::Off => return Ok(None),
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Ok(Some(if json {
        layer.with_ansi(false).event_format(Json).with_filter(filter).boxed()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        layer.with_ansi(colours).event_format(Text).with_filter(filter).boxed()
    }))
}

/// The layer that turns `tracing` spans into OpenTelemetry spans: only inside a sampled context, so that an unsampled
/// call pays one thread-local look for a handler span.
pub fn span_layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    let named = TRANSPORT.iter().fold(Targets::new().with_default(LevelFilter::INFO), |targets, name| {
        targets.with_target(*name, LevelFilter::OFF)
    });
    let sampled = dynamic_filter_fn(|_, _| Context::map_current(|cx| cx.span().span_context().is_sampled()));
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tracing"))
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(named.and(sampled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(config: &TelemetryConfig) -> Settings {
        Settings::resolve("test", config, |_| None).unwrap()
    }

    #[test]
    fn an_unreadable_log_filter_is_refused_with_its_text() {
        let config = TelemetryConfig { log: "orders=louder".into(), ..Default::default() };
        let Err(error) = logs(&settings(&config)) else { panic!("accepted") };
        assert!(error.to_string().contains("orders=louder"), "{error}");
    }

    #[test]
    fn log_format_off_installs_nothing() {
        let config = TelemetryConfig { log_format: LogFormat::Off, ..Default::default() };
        assert!(logs(&settings(&config)).unwrap().is_none());
    }

    #[tokio::test]
    async fn shutting_down_without_an_exporter_is_immediate() {
        let config = TelemetryConfig { log_format: LogFormat::Off, ..Default::default() };
        let telemetry = init("test", "0", &config).unwrap();
        assert!(telemetry.shutdown(Duration::ZERO).await);
    }
}
