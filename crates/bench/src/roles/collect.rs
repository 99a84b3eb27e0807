//! A trace collector: takes spans by OTLP over gRPC, and counts those of calls that were served.
//!
//! It shares the machine with what is measured, and so reads of a span no more than its kind.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{Commands, listen, say};
use crate::error::Error;

/// `SPAN_KIND_SERVER`.
const SERVER: i32 = 2;

/// The name of the role.
pub const NAME: &str = "collect";

/// The options of the role.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Options {}

/// What it says when it is ready.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
}

/// A command: to tell how many spans there have been.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Query {}

/// What has arrived so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Spans of calls that were served; a program also has some of its own, such as that of its start.
    pub spans: u64,
}

/// Collects until the input ends.
///
/// # Errors
/// When it cannot begin.
pub async fn run(Options {}: Options) -> Result<(), Error> {
    let (listener, address) = listen(None)?;
    let collector = Collector::default();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(Server::builder().add_service(collector.clone()).serve_with_incoming(incoming));
    say(&Ready { address })?;
    let mut commands = Commands::default();
    while let Some(Query {}) = commands.next().await? {
        say(&Collected { spans: collector.spans.load(Ordering::Acquire) })?;
    }
    Ok(())
}

/// The service; clones count together.
#[derive(Debug, Clone, Default)]
struct Collector {
    spans: Arc<AtomicU64>,
}

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl tower::Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // The service has one method.
        let collector = self.clone();
        Box::pin(
            async move { Ok(Grpc::new(tonic_prost::ProstCodec::default()).unary(collector, request).await) },
        )
    }
}

impl UnaryService<Export> for Collector {
    type Response = Accepted;
    type Future = std::future::Ready<Result<Response<Accepted>, Status>>;

    fn call(&mut self, request: Request<Export>) -> Self::Future {
        self.spans.fetch_add(request.get_ref().spans(), Ordering::AcqRel);
        std::future::ready(Ok(Response::new(Accepted {})))
    }
}

/// `ExportTraceServiceRequest`, as far as it is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

impl Export {
    fn spans(&self) -> u64 {
        let scopes = self.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let served = scopes.flat_map(|scope| &scope.spans).filter(|span| span.kind == SERVER);
        u64::try_from(served.count()).unwrap_or(u64::MAX)
    }
}

/// `ResourceSpans`, as far as they are read.
#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// `ScopeSpans`, as far as they are read.
#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

/// `Span`, as far as it is read.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Span {
    #[prost(int32, tag = "6")]
    kind: i32,
}

/// `ExportTraceServiceResponse` of a request whose spans were all taken.
#[derive(Clone, PartialEq, prost::Message)]
struct Accepted {}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1 as otlp;
    use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_served_calls_of_all_resources_and_scopes_of_a_request_are_counted() {
        let span =
            |kind| otlp::Span { name: "call".to_owned(), kind: i32::from(kind), ..otlp::Span::default() };
        let scope = |served| {
            let served = (0..served).map(|_| span(SpanKind::Server));
            let spans = served.chain([span(SpanKind::Internal)]).collect();
            otlp::ScopeSpans { spans, ..otlp::ScopeSpans::default() }
        };
        let resource = |scopes: &[usize]| otlp::ResourceSpans {
            scope_spans: scopes.iter().copied().map(scope).collect(),
            ..otlp::ResourceSpans::default()
        };
        let request =
            ExportTraceServiceRequest { resource_spans: vec![resource(&[3, 0]), resource(&[1, 2])] };
        let read = Export::decode(request.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.spans(), 6);
    }
}
