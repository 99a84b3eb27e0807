//! Export of spans to the collector: OTLP over gRPC, a bounded queue, and an exporter that logs once when the collector
//! becomes unreachable and once when it is back, instead of once per batch.
//!
//! Spans are dropped when the queue is full, and dropped and counted when they cannot be delivered; no call ever waits
//! for a collector.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::environment::NO_EXPORT;
use crate::otlp::Export;
use crate::resource::Described;
use crate::{Metrics, Tracing, Warning};

/// The provider that exports. A tokio runtime carries the connection; outside of one there is none.
pub(crate) fn provider(
    export: Export,
    described: &Described,
    metrics: &Metrics,
) -> Result<SdkTracerProvider, Warning> {
    let broken = |fault| Warning::new("the export of traces", fault, NO_EXPORT);
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(broken("was set up outside of a tokio runtime"));
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_channel(export.endpoint.connect_lazy())
        .with_timeout(export.timeout)
        .with_interceptor(only(export.metadata))
        .build()
        .map_err(|_| broken("could not be set up"))?;
    let exporter = Reporting {
        inner: exporter,
        metrics: metrics.clone(),
        endpoint: export.target.to_string(),
        failing: AtomicBool::new(false),
    };
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(export.batch.config()).build();
    Ok(Tracing::provider_builder()
        .with_span_processor(processor)
        .with_span_limits(export.limits)
        .with_resource(described.resource())
        .build())
}

/// Sends `metadata` with each request, in place of the headers that the exporter read from the environment by its own
/// rules; the exporter's `user-agent` is kept, unless `metadata` has one.
fn only(
    metadata: MetadataMap,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + use<> {
    const USER_AGENT: &str = "user-agent";
    move |mut request| {
        let mut metadata = metadata.clone();
        if let (None, Some(name)) = (metadata.get(USER_AGENT), request.metadata().get(USER_AGENT)) {
            metadata.insert(USER_AGENT, name.clone());
        }
        *request.metadata_mut() = metadata;
        Ok(request)
    }
}

/// An exporter that counts delivered and lost spans, and logs only changes of the collector's health.
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
mod tests;
