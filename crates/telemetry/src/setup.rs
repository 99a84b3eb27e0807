//! Set-up and shut-down of telemetry: once per process, right after its configuration is known.
//!
//! Exporting never feeds on itself: spans of the transport below the exporter are refused by name, and nothing is
//! recorded outside of a sampled context anyway.

use std::io::IsTerminal;
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
use crate::environment::Environment;
use crate::filter::TRANSPORT;
use crate::log::{Json, Text};
use crate::{LogFormat, Metrics, TelemetryConfig, TelemetryError, Tracing, Warning, export};

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
/// Settings that cannot be used are logged, each as one warning: see [`Warning`].
///
/// # Errors
/// See [`TelemetryError`]. Nothing is installed when it fails.
pub fn init(
    service_name: &str,
    version: &str,
    config: &TelemetryConfig,
) -> Result<Telemetry, TelemetryError> {
    let settings = Settings::resolve(service_name, config, Environment::of_process())?;
    let Settings { log_format, filter, described, sampling, propagate, export, mut warnings } = settings;
    let metrics = Metrics::new(&described.service_name, version)?;
    let provider = export.and_then(|export| {
        export::provider(export, &described, &metrics).map_err(|warning| warnings.push(warning)).ok()
    });
    let tracing = Tracing::new(provider.as_ref(), sampling, propagate);
    if let Some(logs) = logs(log_format, filter) {
        let spans = provider.as_ref().map(span_layer);
        // What is installed already is the program's own choice, and shows the warning.
        if tracing_subscriber::registry().with(logs).with(spans).try_init().is_err() {
            warnings.push(Warning::new(
                "[telemetry] log",
                "has no effect, since a log subscriber is installed in this process already",
                "that one is used (`log_format = \"off\"` says that it is meant)",
            ));
        }
    }
    for warning in &warnings {
        tracing::warn!(setting = warning.setting(), "{warning}");
    }
    Ok(Telemetry { tracing, metrics, provider })
}

/// What [`init`] would warn of, without installing anything: each setting of `config`, the environment and the files
/// that it names is read.
///
/// # Errors
/// See [`TelemetryError`].
pub fn check(service_name: &str, config: &TelemetryConfig) -> Result<Vec<Warning>, TelemetryError> {
    Ok(Settings::resolve(service_name, config, Environment::of_process())?.warnings)
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// The log layer, or none when the process has its own.
fn logs(format: LogFormat, filter: EnvFilter) -> Option<BoxedLayer<Registry>> {
    let filter = filter.and(filter_fn(|metadata| metadata.is_event()));
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Off => return None,
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Some(if json {
        layer.with_ansi(false).event_format(Json).with_filter(filter).boxed()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        layer.with_ansi(colours).event_format(Text).with_filter(filter).boxed()
    })
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

    #[test]
    fn log_format_off_installs_nothing() {
        assert!(logs(LogFormat::Off, EnvFilter::default()).is_none());
    }

    #[tokio::test]
    async fn shutting_down_without_an_exporter_is_immediate() {
        let config = TelemetryConfig { log_format: LogFormat::Off, ..Default::default() };
        let telemetry = init("test", "0", &config).unwrap();
        assert!(telemetry.shutdown(Duration::ZERO).await);
    }
}
