//! The two RPC layers against each other, with the spans they leave in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::future::Ready;
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll};

use avouch_telemetry::opentelemetry::trace::{SpanId, SpanKind, Status};
use avouch_telemetry::{ClientLayer, Decision, Metrics, ServerLayer, Tracing, Verdict, record_decision};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio_stream::StreamExt;
use tower_layer::Layer;
use tower_service::Service;
use tracing_subscriber::layer::SubscriberExt;

const METHOD: &str = "/market.ledger.v1.Ledger/Append";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";

#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Memory {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().append(&mut batch);
        Ok(())
    }
}

impl Memory {
    fn spans(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }

    fn span(&self, name: &str) -> SpanData {
        self.spans().into_iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}"))
    }

    fn of(&self, kind: SpanKind) -> SpanData {
        self.spans().into_iter().find(|span| span.span_kind == kind).unwrap()
    }
}

struct Bench {
    memory: Memory,
    provider: SdkTracerProvider,
    tracing: Tracing,
    metrics: Metrics,
}

impl Bench {
    fn new(ratio: f64) -> Self {
        let memory = Memory::default();
        let provider = Tracing::provider_builder().with_simple_exporter(memory.clone()).build();
        let tracing = Tracing::with_provider(&provider, ratio);
        Self { memory, provider, tracing, metrics: Metrics::new("test", "0").unwrap() }
    }

    fn server(&self) -> ServerLayer {
        ServerLayer::new(&self.tracing, &self.metrics, [METHOD])
    }

    fn client(&self) -> ClientLayer {
        ClientLayer::new(&self.tracing, &self.metrics, [METHOD])
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
}

type Reply = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A handler that answers what `answer` makes of the request.
#[derive(Clone)]
struct Handler<F>(F);

impl<F> Service<Request<Empty<Bytes>>> for Handler<F>
where
    F: FnMut(Request<Empty<Bytes>>) -> Result<Response<Reply>, tonic::Status>,
{
    type Response = Response<Reply>;
    type Error = tonic::Status;
    type Future = Ready<Result<Response<Reply>, tonic::Status>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), tonic::Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        std::future::ready((self.0)(request))
    }
}

fn with_trailers(status: &'static str) -> Response<Reply> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let trailers = std::future::ready(Some(Ok(trailers)));
    Response::new(Full::new(Bytes::from_static(b"reply")).with_trailers(trailers).boxed())
}

fn trailers_only(status: &'static str) -> Response<Reply> {
    let mut response = Response::new(Empty::new().boxed());
    response.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
    response
}

fn request(traceparent: Option<&str>) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = METHOD.parse().unwrap();
    if let Some(value) = traceparent {
        request.headers_mut().insert("traceparent", value.parse().unwrap());
    }
    request
}

async fn drain<S, B>(service: &mut S, request: Request<Empty<Bytes>>) -> http::response::Parts
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = service.call(request).await.unwrap().into_parts();
    body.collect().await.unwrap();
    parts
}

#[tracing::instrument]
fn handle_append() {
    tracing::info!("appended");
}

#[tokio::test]
async fn one_call_over_both_layers_is_one_connected_tree_with_the_handlers_span_inside() {
    let bench = Bench::new(1.0);
    let _subscriber = tracing::subscriber::set_default(
        tracing_subscriber::registry().with(avouch_telemetry::span_layer(&bench.provider)),
    );
    let server = bench.server().layer(Handler(|_| {
        handle_append();
        Ok(with_trailers("0"))
    }));
    let mut client = bench.client().address("127.0.0.1", 7004).peer("spiffe://a/ledger").layer(server);
    drain(&mut client, request(None)).await;

    let (outer, inner) = (bench.memory.of(SpanKind::Client), bench.memory.of(SpanKind::Server));
    let handler = bench.memory.span("handle_append");
    assert_eq!(outer.parent_span_id, SpanId::INVALID);
    assert_eq!(inner.parent_span_id, outer.span_context.span_id());
    assert_eq!(handler.parent_span_id, inner.span_context.span_id());
    for span in [&outer, &inner, &handler] {
        assert_eq!(span.span_context.trace_id(), outer.span_context.trace_id());
    }
    assert_eq!(outer.name, "market.ledger.v1.Ledger/Append");
    assert_eq!(attribute(&outer, "rpc.system.name").as_deref(), Some("grpc"));
    assert_eq!(attribute(&outer, "rpc.method").as_deref(), Some("market.ledger.v1.Ledger/Append"));
    assert_eq!(attribute(&outer, "rpc.response.status_code").as_deref(), Some("OK"));
    assert_eq!(attribute(&outer, "server.address").as_deref(), Some("127.0.0.1"));
    assert_eq!(attribute(&outer, "server.port").as_deref(), Some("7004"));
    assert_eq!(attribute(&outer, "avouch.peer.id").as_deref(), Some("spiffe://a/ledger"));
    assert_eq!(attribute(&outer, "rpc.service"), None, "the old convention is not written");
}

#[tokio::test]
async fn a_span_inside_a_streaming_body_is_a_child_too() {
    let bench = Bench::new(1.0);
    let _subscriber = tracing::subscriber::set_default(
        tracing_subscriber::registry().with(avouch_telemetry::span_layer(&bench.provider)),
    );
    let mut server = bench.server().layer(Handler(|_| {
        let frames = tokio_stream::once(()).map(|()| {
            handle_append();
            Ok(http_body::Frame::data(Bytes::from_static(b"x")))
        });
        Ok(Response::new(BodyExt::boxed(StreamBody::new(frames))))
    }));
    drain(&mut server, request(None)).await;
    let handler = bench.memory.span("handle_append");
    assert_eq!(handler.parent_span_id, bench.memory.of(SpanKind::Server).span_context.span_id());
}

#[tokio::test]
async fn an_unsampled_call_builds_no_span_and_hands_the_same_trace_on() {
    let bench = Bench::new(1.0);
    let _subscriber = tracing::subscriber::set_default(
        tracing_subscriber::registry().with(avouch_telemetry::span_layer(&bench.provider)),
    );
    let sent = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&sent);
    let mut downstream = bench.client().layer(Handler(move |request: Request<_>| {
        *seen.lock().unwrap() = request.headers().get("traceparent").cloned();
        Ok(with_trailers("0"))
    }));
    let mut server = bench.server().layer(Handler(move |_| {
        handle_append();
        drop(downstream.call(request(None)));
        Ok(with_trailers("0"))
    }));
    drain(&mut server, request(Some(&format!("{PARENT}00")))).await;
    assert!(bench.memory.spans().is_empty(), "{:?}", bench.memory.spans());
    let value = sent.lock().unwrap().clone().unwrap();
    assert_eq!(value, format!("{PARENT}00").as_str());
    assert!(value.is_sensitive());
}

#[tokio::test]
async fn a_new_trace_that_is_not_picked_travels_on_with_the_flag_cleared() {
    let bench = Bench::new(0.0);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    let mut downstream = bench.client().layer(Handler(move |request: Request<_>| {
        seen.lock().unwrap().push(request.headers().get("traceparent").unwrap().to_str().unwrap().to_owned());
        Ok(with_trailers("0"))
    }));
    let mut server = bench.server().layer(Handler(move |_| {
        drop(downstream.call(request(None)));
        drop(downstream.call(request(None)));
        Ok(with_trailers("0"))
    }));
    drain(&mut server, request(None)).await;
    let sent = sent.lock().unwrap();
    assert!(sent[0].ends_with("-00"), "{}", sent[0]);
    assert_eq!(sent[0][..35], sent[1][..35], "both calls of one handler belong to one trace");
    assert!(bench.memory.spans().is_empty());
}

#[tokio::test]
async fn a_process_that_records_nothing_keeps_its_callers_trace_connected() {
    let (tracing, metrics) = (Tracing::off(), Metrics::new("test", "0").unwrap());
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    let layer = ClientLayer::new(&tracing, &metrics, [METHOD]);
    let mut downstream = layer.layer(Handler(move |request: Request<_>| {
        seen.lock().unwrap().push(request.headers().get("traceparent").cloned());
        Ok(with_trailers("0"))
    }));
    let mut server = ServerLayer::new(&tracing, &metrics, [METHOD]).layer(Handler(move |_| {
        drop(downstream.call(request(None)));
        Ok(with_trailers("0"))
    }));
    drain(&mut server, request(Some(&format!("{PARENT}01")))).await;
    drain(&mut server, request(None)).await;
    let sent = sent.lock().unwrap();
    assert_eq!(sent[0].as_ref().unwrap(), format!("{PARENT}01").as_str());
    assert_eq!(sent[1], None, "nothing came in, nothing goes out");
}

#[tokio::test]
async fn a_malformed_parent_begins_a_new_trace_instead_of_failing() {
    let bench = Bench::new(1.0);
    let mut server = bench.server().layer(Handler(|_| Ok(with_trailers("0"))));
    drain(&mut server, request(Some("00-zz-zz-01"))).await;
    assert_eq!(bench.memory.of(SpanKind::Server).parent_span_id, SpanId::INVALID);
}

#[tokio::test]
async fn the_status_comes_from_the_trailers_not_from_the_headers_that_came_first() {
    let bench = Bench::new(1.0);
    let mut server = bench.server().layer(Handler(|_| Ok(with_trailers("13"))));
    let response = server.call(request(None)).await.unwrap();
    assert!(bench.memory.spans().is_empty(), "the span lasts as long as the body");
    response.into_body().collect().await.unwrap();
    let span = bench.memory.of(SpanKind::Server);
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("INTERNAL"));
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("INTERNAL"));
    assert_eq!(span.status, Status::error("INTERNAL"));
}

#[tokio::test]
async fn a_refusal_is_no_error_on_the_server_and_is_one_on_the_client() {
    for (number, name) in [("7", "PERMISSION_DENIED"), ("16", "UNAUTHENTICATED")] {
        let bench = Bench::new(1.0);
        let server = bench.server().layer(Handler(move |_| Ok(trailers_only(number))));
        drain(&mut bench.client().layer(server), request(None)).await;
        let (outer, inner) = (bench.memory.of(SpanKind::Client), bench.memory.of(SpanKind::Server));
        assert_eq!(attribute(&inner, "rpc.response.status_code").as_deref(), Some(name));
        assert_eq!(inner.status, Status::Unset);
        assert_eq!(attribute(&inner, "error.type"), None);
        assert_eq!(outer.status, Status::error(name));
    }
}

#[tokio::test]
async fn a_deadline_reported_by_the_channel_itself_is_the_calls_status() {
    let bench = Bench::new(1.0);
    let mut client = bench.client().layer(Handler(|_| Err(tonic::Status::deadline_exceeded("too late"))));
    client.call(request(None)).await.unwrap_err();
    let span = bench.memory.of(SpanKind::Client);
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("DEADLINE_EXCEEDED"));
    let page = bench.metrics.render().unwrap();
    assert!(page.contains(
        r#"rpc_client_call_duration_seconds_count{rpc_method="market.ledger.v1.Ledger/Append",rpc_response_status_code="DEADLINE_EXCEEDED"} 1"#
    ), "{page}");
}

#[tokio::test]
async fn a_body_without_trailers_is_unknown_and_a_dropped_one_is_cancelled() {
    let bench = Bench::new(1.0);
    let mut server =
        bench.server().layer(Handler(|_| Ok(Response::new(Full::new(Bytes::from_static(b"half")).boxed()))));
    drain(&mut server, request(None)).await;
    drop(server.call(request(None)).await.unwrap());
    drop(server.call(request(None)));
    let codes: Vec<_> = bench
        .memory
        .spans()
        .iter()
        .map(|span| attribute(span, "rpc.response.status_code").unwrap())
        .collect();
    assert_eq!(codes, ["UNKNOWN", "CANCELLED", "CANCELLED"]);
}

#[tokio::test]
async fn a_served_call_dropped_at_its_deadline_is_deadline_exceeded_and_not_cancelled() {
    let bench = Bench::new(1.0);
    let mut server = bench.server().layer(Handler(|_| Ok(with_trailers("0"))));
    for (timeout, code) in [("1n", "DEADLINE_EXCEEDED"), ("1H", "CANCELLED"), ("soon", "CANCELLED")] {
        let mut call = request(None);
        call.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
        drop(server.call(call));
        let span = bench.memory.spans().pop().unwrap();
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some(code), "{timeout}");
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_wrapped_can_carry_the_current_trace() {
    let bench = Bench::new(1.0);
    let mut headers = HeaderMap::new();
    avouch_telemetry::inject_current(&mut headers);
    assert!(headers.is_empty());
    bench.tracing.scope("boot", None, async { avouch_telemetry::inject_current(&mut headers) }).await;
    let id = bench.memory.span("boot").span_context.span_id().to_string();
    assert!(headers["traceparent"].to_str().unwrap().contains(&id));
}

#[tokio::test]
async fn the_peer_and_the_decision_stand_on_the_server_span() {
    #[derive(Clone)]
    struct Peer(&'static str);
    let bench = Bench::new(1.0);
    let layer = bench.server().peer(|extensions| extensions.get::<Peer>().map(|peer| peer.0.to_owned()));
    let mut server = layer.layer(Handler(|_| {
        record_decision(|| Decision {
            verdict: Verdict::Deny,
            id: Some("dec-1".into()),
            reason: Some("ROLE_MISSING"),
        });
        Ok(trailers_only("7"))
    }));
    let mut call = request(None);
    call.extensions_mut().insert(Peer("spiffe://a/payments"));
    drain(&mut server, call).await;
    let span = bench.memory.of(SpanKind::Server);
    for (key, value) in [
        ("avouch.peer.id", "spiffe://a/payments"),
        ("avouch.decision", "deny"),
        ("avouch.decision.id", "dec-1"),
        ("avouch.reason", "ROLE_MISSING"),
    ] {
        assert_eq!(attribute(&span, key).as_deref(), Some(value), "{key}");
    }
}

#[tokio::test]
async fn a_decision_is_also_read_from_the_responses_extensions() {
    #[derive(Clone)]
    struct Allowed;
    let bench = Bench::new(1.0);
    let layer = bench.server().decision(|extensions| {
        extensions.get::<Allowed>().map(|_| Decision { verdict: Verdict::Allow, id: None, reason: None })
    });
    let mut server = layer.layer(Handler(|_| {
        let mut response = with_trailers("0");
        response.extensions_mut().insert(Allowed);
        Ok(response)
    }));
    drain(&mut server, request(None)).await;
    let span = bench.memory.of(SpanKind::Server);
    assert_eq!(attribute(&span, "avouch.decision").as_deref(), Some("allow"));
    assert_eq!(attribute(&span, "avouch.reason"), None);
}

#[tokio::test]
async fn extractors_are_not_called_for_an_unsampled_call() {
    let bench = Bench::new(0.0);
    let layer = bench.server().peer(|_| panic!("called")).decision(|_| panic!("called"));
    let mut server = layer.layer(Handler(|_| {
        record_decision(|| panic!("called"));
        Ok(with_trailers("0"))
    }));
    drain(&mut server, request(Some(&format!("{PARENT}00")))).await;
}

#[tokio::test]
async fn calls_in_progress_are_known_until_their_body_ends() {
    let bench = Bench::new(0.0);
    let layer = bench.server();
    let mut server = layer.layer(Handler(|_| Ok(with_trailers("0"))));
    let response = server.call(request(None)).await.unwrap();
    let open = layer.open_calls();
    assert_eq!((open[0].method, open[0].calls), ("market.ledger.v1.Ledger/Append", 1));
    response.into_body().collect().await.unwrap();
    assert!(layer.open_calls().is_empty());
}

#[tokio::test]
async fn work_that_no_call_began_gets_a_trace_of_its_own() {
    let bench = Bench::new(1.0);
    let client = bench.client();
    bench
        .tracing
        .scope("order", None, async {
            let mut channel = client.layer(Handler(|_| Ok(with_trailers("0"))));
            drain(&mut channel, request(None)).await;
        })
        .await;
    let (root, call) = (bench.memory.span("order"), bench.memory.of(SpanKind::Client));
    assert_eq!(root.parent_span_id, SpanId::INVALID);
    assert_eq!(call.parent_span_id, root.span_context.span_id());
}

#[tokio::test]
async fn a_spawned_task_stays_in_its_handlers_trace_only_when_asked_to() {
    let bench = Bench::new(1.0);
    let tracing = bench.tracing.clone();
    bench
        .tracing
        .scope("handler", None, async {
            let inside = tracing.scope("inside", None, async {});
            tokio::spawn(avouch_telemetry::in_current_context(inside)).await.unwrap();
            tokio::spawn(async move { tracing.scope("outside", None, async {}).await }).await.unwrap();
        })
        .await;
    let root = bench.memory.span("handler").span_context.trace_id();
    assert_eq!(bench.memory.span("inside").span_context.trace_id(), root);
    assert_ne!(bench.memory.span("outside").span_context.trace_id(), root);
}
