//! The way of spans to the collector: OTLP over gRPC, a bounded queue, and an exporter that says once when the
//! collector is gone and once when it is back, instead of once per batch.
//!
//! Spans that do not fit or cannot be delivered are dropped and counted; no call ever waits for a collector.

use std::fmt::{self, Debug};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::config::{ExportTls, Settings};
use crate::setup::TelemetryError;
use crate::{Metrics, Tracing};

/// Spans that may wait for the exporter, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise.
const QUEUE: usize = 16_384;

/// The provider that exports to `endpoint`. Must be called inside a tokio runtime, which carries the connection.
pub(crate) fn provider(
    endpoint: &str,
    settings: &Settings,
    metrics: &Metrics,
) -> Result<SdkTracerProvider, TelemetryError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let mut builder =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint.to_owned());
    if endpoint.starts_with("https://") {
        builder = builder.with_tls_config(tls(&settings.tls)?);
    }
    let exporter = builder.build().map_err(|error| TelemetryError::Endpoint {
        endpoint: endpoint.to_owned(),
        why: error.to_string(),
    })?;
    let exporter = Reporting {
        inner: exporter,
        metrics: metrics.clone(),
        endpoint: endpoint.to_owned(),
        failing: AtomicBool::new(false),
    };
    let mut batch = BatchConfigBuilder::default();
    if !settings.queue_size_given {
        batch = batch.with_max_queue_size(QUEUE);
    }
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batch.build()).build();
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.name", settings.service_name.clone()))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
        .build();
    Ok(Tracing::provider_builder().with_span_processor(processor).with_resource(resource).build())
}

/// TLS towards the collector. There is no fallback to the machine's certificate store: who runs a collector over
/// TLS names its CA.
fn tls(files: &ExportTls) -> Result<ClientTlsConfig, TelemetryError> {
    let ca = files.ca.as_deref().ok_or(TelemetryError::NoCollectorCa)?;
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
    if let Some((certificate, key)) = &files.client {
        config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>, TelemetryError> {
    std::fs::read(path).map_err(|source| TelemetryError::File { path: path.to_owned(), source })
}

/// Counts what is delivered and what is lost, and reports changes of the collector's health only.
pub(crate) struct Reporting<E> {
    inner: E,
    metrics: Metrics,
    endpoint: String,
    failing: AtomicBool,
}

impl<E> Debug for Reporting<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporting").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.metrics.exported(spans, result.is_ok());
        let was_failing = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_failing => {
                tracing::warn!(
                    endpoint = self.endpoint,
                    error = %error,
                    "the trace collector takes no spans: they are dropped and counted until it does"
                );
            }
            Ok(()) if was_failing => {
                tracing::info!(endpoint = self.endpoint, "the trace collector takes spans again");
            }
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TelemetryConfig;

    fn build(endpoint: &str, vars: &'static [(&str, &str)]) -> Result<SdkTracerProvider, TelemetryError> {
        let env = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        let settings = Settings::resolve("test", &TelemetryConfig::default(), env).unwrap();
        provider(endpoint, &settings, &Metrics::new("test", "0").unwrap())
    }

    #[test]
    fn exporting_outside_of_a_runtime_is_refused() {
        assert!(matches!(build("http://127.0.0.1:1", &[]), Err(TelemetryError::NoRuntime)));
    }

    #[tokio::test]
    async fn an_endpoint_that_is_no_url_is_refused() {
        let error = build("not a url", &[]).unwrap_err();
        assert!(matches!(error, TelemetryError::Endpoint { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn an_https_collector_without_a_ca_is_refused() {
        assert!(matches!(build("https://127.0.0.1:1", &[]), Err(TelemetryError::NoCollectorCa)));
    }

    #[tokio::test]
    async fn an_unreadable_collector_ca_is_refused_by_name() {
        let vars = &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")];
        let error = build("https://127.0.0.1:1", vars).unwrap_err();
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
