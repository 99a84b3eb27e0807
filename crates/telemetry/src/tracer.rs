//! [`Tracing`]: the handle by which the RPC layers and the rest of a process start spans.
//!
//! Spans of handlers come from `tracing` and find their parent in the current OpenTelemetry context. A new trace is
//! only ever begun here (and in the RPC layers), where the sampling decision is taken first.

use std::future::Future;
use std::sync::Arc;

use opentelemetry::trace::{
    FutureExt, SpanBuilder, SpanContext, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::sampling::{self, DecidedIds, Sampling};

/// Handle that decides on traces and starts spans; clones are cheap.
///
/// Without an exporter it records nothing, yet still hands a caller's context on, so that a trace stays connected
/// across a process that does not export.
#[derive(Clone)]
pub struct Tracing(Arc<Inner>);

struct Inner {
    tracer: Option<SdkTracer>,
    sampling: Sampling,
    propagate: bool,
}

impl std::fmt::Debug for Tracing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracing")
            .field("records", &self.0.tracer.is_some())
            .field("sampling", &self.0.sampling)
            .field("propagates", &self.0.propagate)
            .finish()
    }
}

impl Tracing {
    pub(crate) fn new(provider: Option<&SdkTracerProvider>, sampling: Sampling, propagate: bool) -> Self {
        use opentelemetry::trace::TracerProvider;
        let tracer = provider.map(|provider| provider.tracer("avouch"));
        Self(Arc::new(Inner { tracer, sampling, propagate }))
    }

    /// Spans go to `provider`; `ratio` (0 to 1) of new traces are recorded, callers' decisions are respected.
    ///
    /// For tests and for processes that set up OpenTelemetry themselves. The provider must have been built with
    /// [`Tracing::provider_builder`].
    #[must_use]
    pub fn with_provider(provider: &SdkTracerProvider, ratio: f64) -> Self {
        Self::new(Some(provider), Sampling { root: sampling::Root::ratio(ratio), parent_based: true }, true)
    }

    /// A provider builder whose sampler and id generator fit the decisions taken here.
    #[must_use]
    pub fn provider_builder() -> opentelemetry_sdk::trace::TracerProviderBuilder {
        use opentelemetry_sdk::trace::Sampler;
        SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_id_generator(DecidedIds::default())
    }

    /// A handle that records nothing, and propagates the incoming context.
    #[must_use]
    pub fn off() -> Self {
        Self::new(None, Sampling { root: sampling::Root::Never, parent_based: true }, true)
    }

    /// Whether spans are recorded at all in this process.
    #[must_use]
    pub fn records(&self) -> bool {
        self.0.tracer.is_some()
    }

    pub(crate) fn propagates(&self) -> bool {
        self.0.propagate
    }

    /// Runs `future` inside a span called `name`: a child of the current context, else of `parent`, else the root of
    /// a new trace if the sampler picks it. This is how work that no RPC began (a command, a timer, an HTTP ingress,
    /// boot) gets its trace.
    pub fn scope<F: Future>(
        &self,
        name: &'static str,
        parent: Option<Context>,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let current = Context::map_current(|cx| cx.has_active_span().then(|| cx.clone()));
        let parent = current.or(parent).unwrap_or_default();
        let context = self.start(&parent, SpanKind::Internal, name, Vec::new).unwrap_or(parent);
        future.with_context(context)
    }

    /// Decides, and starts a span below `parent` if the answer is yes: the context that carries the span. For an
    /// unsampled call it is a context with bare ids and the flag cleared. `None` when there is nothing to carry.
    ///
    /// `attributes` is called only for a sampled call.
    pub(crate) fn start(
        &self,
        parent: &Context,
        kind: SpanKind,
        name: &'static str,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Option<Context> {
        let tracer = self.0.tracer.as_ref()?;
        let span = parent.span();
        let remote = span.span_context();
        let build = |parent: &Context| {
            let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes());
            let span = tracer.build_with_context(builder, parent);
            parent.with_span(span)
        };
        if remote.is_valid() {
            if !self.0.sampling.follows(remote) {
                return Some(unsampled(parent, remote.trace_id(), remote));
            }
            if remote.is_sampled() {
                return Some(build(parent));
            }
            // The sampler overrules the caller's cleared sampled flag: the SDK's own parent-based sampler must see it
            // set.
            let yes = SpanContext::new(
                remote.trace_id(),
                remote.span_id(),
                TraceFlags::SAMPLED,
                true,
                remote.trace_state().clone(),
            );
            return Some(build(&parent.with_remote_span_context(yes)));
        }
        match self.0.sampling.root() {
            Ok(trace_id) => Some(DecidedIds::with(trace_id, || build(parent))),
            Err(trace_id) => Some(unsampled(parent, trace_id, remote)),
        }
    }
}

/// A context that carries a trace nobody records: a valid id, the caller's span id if there is one, flag 0.
fn unsampled(parent: &Context, trace_id: TraceId, from: &SpanContext) -> Context {
    if from.is_valid() && !from.is_sampled() {
        return parent.clone();
    }
    let span_id = if from.is_valid() { from.span_id() } else { sampling::span_id() };
    let state = if from.is_valid() { from.trace_state().clone() } else { TraceState::NONE };
    parent.with_remote_span_context(SpanContext::new(trace_id, span_id, TraceFlags::default(), true, state))
}

/// Runs `future` in the OpenTelemetry context of the caller: for tasks spawned by a handler, which would otherwise
/// leave its trace.
///
/// ```
/// # async fn work() {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// tokio::spawn(avouch_telemetry::in_current_context(work()));
/// # }
/// ```
pub fn in_current_context<F: Future>(future: F) -> impl Future<Output = F::Output> {
    future.with_context(Context::current())
}
