//! The exporter as its settings make it, against a real receiver on loopback.

use std::time::Instant;

use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use rcgen::{CertificateParams, KeyPair};
use tokio::sync::mpsc;
use tonic::Response;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use super::*;
use crate::TelemetryConfig;
use crate::environment::Environment;

struct Collector(mpsc::UnboundedSender<Request<ExportTraceServiceRequest>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The provider that these variables make; nothing may be wrong with them.
fn provider_of(vars: &[(&str, &str)]) -> SdkTracerProvider {
    let mut env =
        Environment::new(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
    let described = Described::read(&mut env, "test");
    let export = Export::read(&mut env, &TelemetryConfig::default());
    assert_eq!(env.into_warnings(), []);
    provider(export.unwrap(), &described, &Metrics::new("test", "0").unwrap()).unwrap()
}

/// Ends a sampled span.
fn record(provider: &SdkTracerProvider) {
    let parent =
        crate::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let parent = opentelemetry::trace::TraceContextExt::with_remote_span_context(
        &opentelemetry::Context::new(),
        parent,
    );
    provider.tracer("test").start_with_context("work", &parent).end();
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_a_collector_over_mutual_tls_with_decoded_headers_and_attributes() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    // With a byte order mark, as an editor may leave it.
    let pem = write("certificate.pem", &format!("\u{feff}{}", certificate.pem()));
    let key_file = write("key.pem", &key.serialize_pem());

    let (send, mut received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Installs the cryptography that tonic needs, as the exporter would.
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*format!("HTTPS://localhost:{port}")),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &pem),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &pem),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key_file),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20a%2Cb,raw-bin=%00%ff"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=blue%20green"),
    ];
    let provider = provider_of(&vars);
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate.pem(), key.serialize_pem()))
        .client_ca_root(Certificate::from_pem(certificate.pem()));
    let server =
        Server::builder().tls_config(tls).unwrap().add_service(TraceServiceServer::new(Collector(send)));
    tokio::spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)));

    record(&provider);
    let flushed = tokio::task::spawn_blocking(move || provider.force_flush()).await.unwrap();
    flushed.unwrap();
    let request = received.recv().await.unwrap();
    assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer a,b");
    let binary = request.metadata().get_bin("raw-bin").unwrap().to_bytes().unwrap();
    assert_eq!(binary, &b"\0\xff"[..]);
    let name = request.metadata().get("user-agent").unwrap().to_str().unwrap();
    assert!(name.contains("OTel-OTLP-Exporter-Rust/"), "{name}");
    let resource = format!("{:?}", request.into_inner().resource_spans);
    assert!(resource.contains("blue green") && resource.contains("\"test\""), "{resource}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_makes_no_span_wait() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ];
    let provider = provider_of(&vars);
    // An hour would not be enough if one of them waited for the export, which has no limit.
    for _ in 0..10_000 {
        record(&provider);
    }
    let begun = Instant::now();
    let ended =
        tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(Duration::from_millis(100)));
    assert!(ended.await.unwrap().is_err(), "spans were delivered to nobody");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn exporting_outside_of_a_runtime_is_a_warning_and_no_panic() {
    let config = TelemetryConfig { otlp_endpoint: Some("http://127.0.0.1:1".into()), ..Default::default() };
    let mut env = Environment::new(|_| None);
    let export = Export::read(&mut env, &config).unwrap();
    let described = Described::read(&mut env, "test");
    let warning = provider(export, &described, &Metrics::new("test", "0").unwrap()).unwrap_err();
    assert!(warning.to_string().contains("outside of a tokio runtime: no traces"), "{warning}");
}

#[test]
fn what_the_exporter_read_from_the_environment_itself_is_not_sent() {
    let mut request = Request::new(());
    request.metadata_mut().insert("authorization", "raw%20value".parse().unwrap());
    request.metadata_mut().insert("user-agent", "OTel".parse().unwrap());
    let mut given = MetadataMap::new();
    given.insert("authorization", "decoded value".parse().unwrap());
    let sent = only(given)(request).unwrap();
    assert_eq!(sent.metadata().get("authorization").unwrap(), "decoded value");
    assert_eq!(sent.metadata().get("user-agent").unwrap(), "OTel");
    assert_eq!(sent.metadata().len(), 2);
}
