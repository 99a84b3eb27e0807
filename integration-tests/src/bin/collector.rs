//! A collector of traces that knows nothing of avouch: OTLP over gRPC, mutual TLS with certificates from files.
//!
//!     collector PORT     certificates: /etc/avouch/{collector.crt,collector.key,collectors-ca.crt}
//!
//! Prints every span it is sent as one line of JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde_json::json;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

type Error = Box<dyn std::error::Error + Send + Sync>;

const FOLDER: &str = "/etc/avouch";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(collect(&arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "collector: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn collect(arguments: &[String]) -> Result<(), Error> {
    let [port] = arguments else { return Err("usage: collector PORT".into()) };
    let port: u16 = port.parse()?;
    // Two libraries of this program bring a provider each: without a choice rustls makes none.
    let provider = (**avouch_identity::crypto_provider()).clone();
    provider.install_default().map_err(|_| "there is a crypto provider already")?;
    let file = |name: &str| std::fs::read(format!("{FOLDER}/{name}"));
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(file("collector.crt")?, file("collector.key")?))
        .client_ca_root(Certificate::from_pem(file("collectors-ca.crt")?));
    let server = Server::builder().tls_config(tls)?.add_service(TraceServiceServer::new(Printing));
    writeln!(io::stdout(), "{{\"message\":\"listening\",\"port\":{port}}}")?;
    Ok(server.serve(([0, 0, 0, 0], port).into()).await?)
}

struct Printing;

#[tonic::async_trait]
impl TraceService for Printing {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if request.peer_certs().is_none_or(|certificates| certificates.is_empty()) {
            return Err(Status::unauthenticated("no client certificate"));
        }
        for resource in request.into_inner().resource_spans {
            print(&resource).map_err(|error| Status::internal(error.to_string()))?;
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn print(resource: &ResourceSpans) -> io::Result<()> {
    let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
    let service = attributes
        .filter(|attribute| attribute.key == "service.name")
        .find_map(|attribute| match attribute.value.as_ref()?.value.as_ref()? {
            any_value::Value::StringValue(name) => Some(name.as_str()),
            _ => None,
        })
        .unwrap_or_default();
    let mut out = io::stdout().lock();
    for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
        let line = json!({
            "message": "span",
            "service": service,
            "name": span.name,
            "trace": hex(&span.trace_id),
            "span": hex(&span.span_id),
            "parent": hex(&span.parent_span_id),
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    avouch_text::hex::encode(bytes)
}
