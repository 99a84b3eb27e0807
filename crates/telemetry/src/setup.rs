//! Set-up and shut-down of telemetry: once per process, right after its configuration is known.
//!
//! The exporter never traces itself: spans of the transport below it are refused by name, and nothing is recorded
//! outside of a sampled context anyway.

use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::environment::Environment;
use crate::settings::Settings;
use crate::{Metrics, TelemetryConfig, TelemetryError, Tracing, Warning, export, subscriber};

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

    /// Delivers the queued spans, for at most `timeout`. `true` when all were delivered.
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
    // What is installed already is the program's own choice, and shows the warning.
    if subscriber::install(log_format, filter, provider.as_ref()).is_err() {
        warnings.push(Warning::new(
            "[telemetry] log",
            "has no effect, since a log subscriber is installed in this process already",
            "that one is used (`log_format = \"off\"` says that it is meant)",
        ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogFormat;

    #[tokio::test]
    async fn shutting_down_without_an_exporter_is_immediate() {
        let config = TelemetryConfig { log_format: LogFormat::Off, ..Default::default() };
        let telemetry = init("test", "0", &config).unwrap();
        assert!(telemetry.shutdown(Duration::ZERO).await);
    }
}
