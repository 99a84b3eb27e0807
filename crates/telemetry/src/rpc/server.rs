//! The server side: reads the caller's context, decides, and runs the handler inside the call's context.

use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::{Extensions, Request, Response};
use http_body::Body;
use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use tower_layer::Layer;
use tower_service::Service;

use super::outcome::Watched;
use super::{Call, CallWatcher, Decision, Side, TracedBody, TracedFuture, rpc_attributes, timeout_in};
use crate::methods::Methods;
use crate::{Metrics, Tracing, propagation};

/// A method with calls in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// `pkg.Service/Method`.
    pub method: &'static str,
    /// The number of open calls.
    pub calls: u64,
}

/// tower layer that gives each served RPC its span and its duration. Put it outside of authorization, so that
/// refusals are seen too.
#[derive(Debug, Clone)]
pub struct ServerLayer {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    tracing: Tracing,
    methods: Arc<Methods>,
    address: Option<(String, u16)>,
    peer: Option<fn(&Extensions) -> Option<String>>,
    decision: Option<fn(&Extensions) -> Option<Decision>>,
    watcher: Option<Arc<dyn CallWatcher>>,
}

impl ServerLayer {
    /// A layer over the methods with these full paths (`/pkg.Service/Method`); all others count as `_OTHER`.
    #[must_use]
    pub fn new(
        tracing: &Tracing,
        metrics: &Metrics,
        methods: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let methods = Arc::new(Methods::new(methods, metrics.server_duration()));
        let shared = Shared {
            tracing: tracing.clone(),
            methods,
            address: None,
            peer: None,
            decision: None,
            watcher: None,
        };
        Self { shared: Arc::new(shared) }
    }

    /// How to read the verified peer's id from a request's extensions, for `avouch.peer.id`. Called for sampled
    /// calls only.
    #[must_use]
    pub fn peer(mut self, peer: fn(&Extensions) -> Option<String>) -> Self {
        Arc::make_mut(&mut self.shared).peer = Some(peer);
        self
    }

    /// How to read the decision from a response's extensions. Called for sampled calls only. A decision maker that
    /// runs inside the call can use [`record_decision`](crate::record_decision) instead.
    #[must_use]
    pub fn decision(mut self, decision: fn(&Extensions) -> Option<Decision>) -> Self {
        Arc::make_mut(&mut self.shared).decision = Some(decision);
        self
    }

    /// The watcher that sees every call begin, and can be told of calls that end with an error.
    #[must_use]
    pub fn watcher(mut self, watcher: Arc<dyn CallWatcher>) -> Self {
        Arc::make_mut(&mut self.shared).watcher = Some(watcher);
        self
    }

    /// `server.address` and `server.port` of the spans.
    #[must_use]
    pub fn address(mut self, host: impl Into<String>, port: u16) -> Self {
        Arc::make_mut(&mut self.shared).address = Some((host.into(), port));
        self
    }

    /// The methods with calls in progress, busiest first.
    #[must_use]
    pub fn open_calls(&self) -> Vec<OpenCall> {
        let mut open: Vec<_> = self
            .shared
            .methods
            .iter()
            .map(|method| OpenCall { method: method.name, calls: method.open() })
            .filter(|open| open.calls > 0)
            .collect();
        open.sort_by(|a, b| b.calls.cmp(&a.calls).then(a.method.cmp(b.method)));
        open
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = TracedServer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TracedServer { inner, shared: Arc::clone(&self.shared) }
    }
}

/// The service [`ServerLayer`] makes.
#[derive(Debug, Clone)]
pub struct TracedServer<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl Shared {
    fn begin<B>(&self, request: &Request<B>) -> Call {
        let path = request.uri().path();
        let method = self.methods.get(path);
        let remote = self.tracing.propagates().then(|| propagation::extract(request.headers())).flatten();
        let parent = remote.map(|remote| Context::new().with_remote_span_context(remote));
        let context = if self.tracing.records() {
            let root = Context::new();
            let parent = parent.as_ref().unwrap_or(&root);
            self.tracing.start(parent, SpanKind::Server, method.name, || {
                let mut attributes = rpc_attributes(method, path, self.address.as_ref());
                if let Some(peer) = self.peer.and_then(|of| of(request.extensions())) {
                    attributes.push(KeyValue::new("avouch.peer.id", peer));
                }
                attributes
            })
        } else {
            parent
        };
        let mut call = Call::begin(Side::Server, Arc::clone(method), context, timeout_in(request.headers()));
        call.watched = self.watcher.as_ref().and_then(|watcher| {
            let token = watcher.begun(request.extensions())?;
            Some(Watched { watcher: Arc::clone(watcher), token })
        });
        call
    }
}

impl<S, B, R> Service<Request<B>> for TracedServer<S>
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = self.shared.begin(&request);
        let future = {
            let _entered = call.enter();
            self.inner.call(request)
        };
        TracedFuture::new(future, call, self.shared.decision)
    }
}
