//! The whole set-up of a process against a real OTLP receiver on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use avouch_telemetry::{TelemetryConfig, init};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collector() -> (String, mpsc::UnboundedReceiver<ExportTraceServiceRequest>) {
    let (send, receive) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(send)));
    tokio::spawn(server.serve_with_incoming(incoming));
    (format!("http://{address}"), receive)
}

#[tracing::instrument]
async fn checked_out() {}

#[tokio::test]
async fn spans_of_a_process_reach_the_collector_and_nothing_else_does() {
    let (endpoint, mut received) = collector().await;
    let config = TelemetryConfig {
        otlp_endpoint: Some(endpoint),
        sampling_ratio: 1.0,
        log: "trace".into(),
        ..TelemetryConfig::default()
    };
    let telemetry = init("storefront", "1.0.0", &config).unwrap();
    let metrics = telemetry.metrics().clone();
    telemetry.tracing().scope("order", None, checked_out()).await;
    checked_out().await;
    assert!(telemetry.shutdown(Duration::from_secs(10)).await);

    let mut spans = Vec::new();
    while let Ok(request) = received.try_recv() {
        for resource in request.resource_spans {
            let attributes = format!("{:?}", resource.resource);
            assert!(attributes.contains("storefront"), "{attributes}");
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["checked_out", "order"], "one handler span inside a trace, none outside of it");
    let parents: Vec<_> = spans.iter().map(|span| span.parent_span_id.clone()).collect();
    assert_eq!(parents.first(), spans.get(1).map(|order| &order.span_id));
    assert!(metrics.render().unwrap().contains("avouch_spans_exported_total 2"));
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_spans_and_not_the_shutdown() {
    let config = TelemetryConfig {
        otlp_endpoint: Some("http://127.0.0.1:1".into()),
        sampling_ratio: 1.0,
        ..TelemetryConfig::default()
    };
    let telemetry = init("storefront", "1.0.0", &config).unwrap();
    telemetry.tracing().scope("order", None, async {}).await;
    let begun = std::time::Instant::now();
    telemetry.shutdown(Duration::from_secs(2)).await;
    assert!(begun.elapsed() < Duration::from_secs(4));
}
