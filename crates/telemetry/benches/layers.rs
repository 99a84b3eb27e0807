//! What both RPC layers together add to a call whose handler does nothing: no network, no codec, one thread.
//!
//! Goal: the call that is not sampled costs well under 0.8 µs more than the bare one.
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};

use avouch_telemetry::{ClientLayer, Metrics, ServerLayer, Tracing};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tower_layer::Layer;
use tower_service::Service;

const METHOD: &str = "/market.ledger.v1.Ledger/Append";

fn main() {
    divan::main();
}

#[derive(Clone)]
struct Handler;

impl Service<Request<()>> for Handler {
    type Response = Response<Trailers>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Trailers>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Trailers)))
    }
}

/// A body of trailers alone.
struct Trailers;

impl Body for Trailers {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

fn call<S, B>(service: &mut S)
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body,
{
    let mut request = Request::new(());
    *request.uri_mut() = http::Uri::from_static(METHOD);
    let mut task = Task::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut task) else { return };
    let _ = divan::black_box(pin!(response.into_body()).poll_frame(&mut task));
}

#[divan::bench(sample_size = 2000)]
fn bare(bencher: divan::Bencher<'_, '_>) {
    let mut service = Handler;
    bencher.bench_local(|| call(&mut service));
}

#[divan::bench(sample_size = 2000, args = ["off", "unsampled", "one percent", "all"])]
fn both_layers(bencher: divan::Bencher<'_, '_>, mode: &str) {
    let provider = Tracing::provider_builder().with_batch_exporter(Nowhere).build();
    let tracing = match mode {
        "off" => Tracing::off(),
        "unsampled" => Tracing::with_provider(&provider, 0.0),
        "one percent" => Tracing::with_provider(&provider, 0.01),
        _ => Tracing::with_provider(&provider, 1.0),
    };
    let metrics = Metrics::new("bench", "0").unwrap();
    let server = ServerLayer::new(&tracing, &metrics, [METHOD]).layer(Handler);
    let mut service = ClientLayer::new(&tracing, &metrics, [METHOD]).layer(server);
    bencher.bench_local(|| call(&mut service));
}
