//! A passive OTLP/gRPC receiver on a loopback port: keeps every span of the run in memory, and passes each batch on
//! to the user's own collector when `OTEL_EXPORTER_OTLP_ENDPOINT` names one.
//!
//! Plain text on loopback, for the demo's own processes: it refuses to listen anywhere else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::wait;

/// Batches waiting for the user's collector; more are dropped.
const FORWARD_QUEUE: usize = 256;

/// More spans than any run makes; beyond it they are counted as lost.
const KEEP: usize = 1_000_000;

/// One span, as far as the demo looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRecord {
    /// `service.name` of the process.
    pub service: Arc<str>,
    /// 16 bytes.
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    pub span_id: Vec<u8>,
    /// Empty on a root.
    pub parent_id: Vec<u8>,
    /// Its name.
    pub name: String,
    /// What kind of span.
    pub kind: Kind,
    /// Nanoseconds since the epoch.
    pub start_ns: u64,
    /// Nanoseconds since the epoch.
    pub end_ns: u64,
    /// Attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

impl SpanRecord {
    /// An attribute's value.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// What kind of span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call that was served.
    Server,
    /// A call that was made.
    Client,
    /// Anything else.
    Internal,
}

/// The spans received so far; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    spans: Arc<Mutex<Vec<SpanRecord>>>,
    forward: Option<mpsc::Sender<ExportTraceServiceRequest>>,
    // Batches that were accepted for forwarding and are not forwarded yet.
    under_way: Arc<AtomicUsize>,
}

impl Collector {
    /// Listens on a free loopback port; `forward_to` is the user's own collector.
    ///
    /// # Errors
    /// When no port can be had, or `forward_to` is no plain `http` URL.
    pub async fn start(forward_to: Option<&str>) -> Result<(Self, SocketAddr), String> {
        let under_way = Arc::new(AtomicUsize::new(0));
        let forward = forward_to.map(|url| forwarder(url, under_way.clone())).transpose()?;
        let collector = Self { spans: Arc::default(), forward, under_way };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let service = TraceServiceServer::new(collector.clone()).max_decoding_message_size(64 << 20);
        tokio::spawn(
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Ok((collector, address))
    }

    /// Everything received so far.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanRecord> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the user's collector has been told everything, at most so long.
    pub async fn passed_on(&self, limit: Duration) -> bool {
        let done = async || match self.under_way.load(Ordering::Acquire) {
            0 => Ok(()),
            left => Err(format!("{left} batches")),
        };
        wait::until("everything is passed on", limit, done).await.is_ok()
    }

    /// Adds a span of the demo's own, and passes it on as any other.
    pub fn add(&self, record: &SpanRecord) {
        let span = Span {
            trace_id: record.trace_id.clone(),
            span_id: record.span_id.clone(),
            parent_span_id: record.parent_id.clone(),
            name: record.name.clone(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: record.start_ns,
            end_time_unix_nano: record.end_ns,
            ..Span::default()
        };
        let name = AnyValue { value: Some(any_value::Value::StringValue(record.service.to_string())) };
        let service = KeyValue { key: "service.name".to_owned(), value: Some(name), ..KeyValue::default() };
        self.receive(ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes: vec![service], ..Resource::default() }),
                scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        });
    }

    fn receive(&self, request: ExportTraceServiceRequest) {
        {
            let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            for group in &request.resource_spans {
                let service: Arc<str> = service_name(group).into();
                let new = group.scope_spans.iter().flat_map(|scope| &scope.spans);
                let room = KEEP.saturating_sub(spans.len());
                spans.extend(new.take(room).map(|span| record(&service, span)));
            }
        }
        if let Some(forward) = &self.forward {
            // A slow collector of the user's must not slow the demo.
            if forward.try_send(request).is_ok() {
                self.under_way.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.receive(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn forwarder(
    url: &str,
    under_way: Arc<AtomicUsize>,
) -> Result<mpsc::Sender<ExportTraceServiceRequest>, String> {
    if !url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
        return Err(format!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is `{url}`: the demo passes spans on over plain http:// only"
        ));
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    let mut client = TraceServiceClient::new(endpoint.connect_lazy());
    let (sender, mut batches) = mpsc::channel(FORWARD_QUEUE);
    tokio::spawn(async move {
        while let Some(batch) = batches.recv().await {
            // Whether anybody listens there is the user's affair; the run does not depend on it.
            let _ = client.export(batch).await;
            under_way.fetch_sub(1, Ordering::AcqRel);
        }
    });
    Ok(sender)
}

fn service_name(group: &ResourceSpans) -> String {
    let attributes = group.resource.iter().flat_map(|resource| &resource.attributes);
    attributes
        .filter(|a| a.key == "service.name")
        .map(|a| text(a.value.as_ref()))
        .next_back()
        .unwrap_or_default()
}

fn record(service: &Arc<str>, span: &Span) -> SpanRecord {
    SpanRecord {
        service: service.clone(),
        trace_id: span.trace_id.clone(),
        span_id: span.span_id.clone(),
        parent_id: span.parent_span_id.clone(),
        name: span.name.clone(),
        kind: match SpanKind::try_from(span.kind) {
            Ok(SpanKind::Server) => Kind::Server,
            Ok(SpanKind::Client) => Kind::Client,
            _ => Kind::Internal,
        },
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        attributes: span.attributes.iter().map(|a| (a.key.clone(), text(a.value.as_ref()))).collect(),
    }
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(truth)) => truth.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> SpanRecord {
        SpanRecord {
            service: "demo".into(),
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_id: Vec::new(),
            name: name.into(),
            kind: Kind::Internal,
            start_ns: 1,
            end_ns: 2,
            attributes: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn what_is_exported_over_the_wire_is_kept_and_passed_on() {
        let (users, users_address) = Collector::start(None).await.unwrap();
        let (ours, address) = Collector::start(Some(&format!("http://{users_address}"))).await.unwrap();
        let (elsewhere, _) = Collector::start(Some(&format!("HTTP://{address}"))).await.unwrap();
        elsewhere.add(&own("first order"));
        assert!(elsewhere.passed_on(Duration::from_secs(5)).await);
        crate::wait::until("the span arrives", std::time::Duration::from_secs(5), async || {
            if users.len() == 1 { Ok(()) } else { Err(format!("{} spans", users.len())) }
        })
        .await
        .unwrap();
        assert_eq!(ours.spans(), vec![own("first order")]);
        assert_eq!(users.spans(), ours.spans());
    }

    #[tokio::test]
    async fn a_collector_over_tls_is_refused_with_its_url() {
        let error = Collector::start(Some("https://collector:4317")).await.unwrap_err();
        assert!(error.contains("https://collector:4317"), "{error}");
    }
}
