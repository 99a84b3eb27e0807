//! The client side: a span per call, and the context on the wire.
//!
//! A call that is not sampled still carries a `traceparent` with the flag cleared when this process records at all:
//! without it the next process would start a second trace in the middle of this one.

use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::{Request, Response};
use http_body::Body;
use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use tower_layer::Layer;
use tower_service::Service;

use super::{Call, Side, TracedBody, TracedFuture, rpc_attributes};
use crate::methods::Methods;
use crate::{Metrics, Tracing, propagation};

/// tower layer that gives each made RPC its span and its duration and puts the trace context on the wire. Wrap a
/// channel with it and hand the result to any generated client.
#[derive(Debug, Clone)]
pub struct ClientLayer {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    tracing: Tracing,
    methods: Arc<Methods>,
    address: Option<(String, u16)>,
    peer: Option<String>,
}

impl ClientLayer {
    /// A layer over the methods with these full paths (`/pkg.Service/Method`); all others count as `_OTHER`.
    #[must_use]
    pub fn new(
        tracing: &Tracing,
        metrics: &Metrics,
        methods: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let methods = Arc::new(Methods::new(methods, metrics.client_duration()));
        Self { shared: Arc::new(Shared { tracing: tracing.clone(), methods, address: None, peer: None }) }
    }

    /// `server.address` and `server.port` of the spans.
    #[must_use]
    pub fn address(mut self, host: impl Into<String>, port: u16) -> Self {
        Arc::make_mut(&mut self.shared).address = Some((host.into(), port));
        self
    }

    /// The identity the channel expects of the server, for `avouch.peer.id`.
    #[must_use]
    pub fn peer(mut self, id: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.shared).peer = Some(id.into());
        self
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = TracedClient<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TracedClient { inner, shared: Arc::clone(&self.shared) }
    }
}

/// The service [`ClientLayer`] makes.
#[derive(Debug, Clone)]
pub struct TracedClient<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl Shared {
    fn begin<B>(&self, request: &mut Request<B>) -> Call {
        let parent = Context::current();
        let path = request.uri().path();
        let method = Arc::clone(self.methods.get(path));
        let context = if self.tracing.records() {
            self.tracing.start(&parent, SpanKind::Client, method.name, || {
                let mut attributes = rpc_attributes(&method, path, self.address.as_ref());
                attributes.extend(self.peer.clone().map(|peer| KeyValue::new("avouch.peer.id", peer)));
                attributes
            })
        } else {
            parent.span().span_context().is_valid().then_some(parent)
        };
        if let Some(context) = context.as_ref().filter(|_| self.tracing.propagates()) {
            propagation::inject(request.headers_mut(), context.span().span_context());
        }
        Call::begin(Side::Client, method, context, None)
    }
}

impl<S, B, R> Service<Request<B>> for TracedClient<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    R: Body,
{
    type Response = Response<TracedBody<R>>;
    type Error = S::Error;
    type Future = TracedFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = self.shared.begin(&mut request);
        let future = {
            let _entered = call.enter();
            self.inner.call(request)
        };
        TracedFuture::new(future, call, None)
    }
}
