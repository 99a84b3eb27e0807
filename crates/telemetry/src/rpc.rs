//! What both RPC layers share: a call in progress, its end, and the body that sees the end.
//!
//! Attribute names follow the current RPC semantic conventions only (`rpc.system.name`, fully qualified `rpc.method`,
//! `rpc.response.status_code` as a word).

mod body;
mod client;
mod outcome;
mod server;

use std::time::{Duration, Instant};

use avouch_time::grpc_timeout;
use http::{HeaderMap, HeaderName};
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};
use std::sync::Arc;
use tonic::Code;

pub use body::TracedBody;
pub use client::{ClientLayer, TracedClient};
pub use outcome::{CallEnd, CallToken, CallWatcher};
pub use server::{OpenCall, ServerLayer, TracedServer};

use self::outcome::Watched;
use crate::methods::{Method, OTHER, code_name};
use crate::metrics::Verdict;

pub use future::TracedFuture;

/// How an authorization decision shows on a server span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Allowed or refused.
    pub verdict: Verdict,
    /// The decision's id, by which its record is found.
    pub id: Option<String>,
    /// Why it was refused: a word of the vocabulary of reasons.
    pub reason: Option<&'static str>,
}

/// Notes a decision on the current span: `avouch.decision`, `avouch.decision.id`, `avouch.reason`. Costs one check
/// when the call is not sampled; `decision` is only called when it is.
pub fn record_decision(decision: impl FnOnce() -> Decision) {
    Context::map_current(|cx| {
        if cx.span().span_context().is_sampled() {
            cx.span().set_attributes(decision_attributes(decision()));
        }
    });
}

/// The id of the trace that the current call or piece of work is part of, sampled or not. Allocates nothing.
#[must_use]
pub fn current_trace_id() -> Option<[u8; 16]> {
    Context::map_current(|cx| {
        let span = cx.span();
        let context = span.span_context();
        context.is_valid().then(|| context.trace_id().to_bytes())
    })
}

fn decision_attributes(decision: Decision) -> impl Iterator<Item = KeyValue> {
    [
        Some(KeyValue::new("avouch.decision", decision.verdict.as_str())),
        decision.id.map(|id| KeyValue::new("avouch.decision.id", id)),
        decision.reason.map(|reason| KeyValue::new("avouch.reason", reason)),
    ]
    .into_iter()
    .flatten()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// One call in progress. Dropped before its end was seen, it ends as cancelled.
#[derive(Debug)]
struct Call {
    side: Side,
    method: Arc<Method>,
    started: Instant,
    /// The context the call runs in; absent when there is nothing to carry.
    context: Option<Context>,
    /// The caller's timeout, of a served call.
    timeout: Option<Duration>,
    /// The watcher to notify of a bad end.
    watched: Option<Watched>,
    open: bool,
}

impl Call {
    fn begin(side: Side, method: Arc<Method>, context: Option<Context>, timeout: Option<Duration>) -> Self {
        method.begun();
        Self { side, method, started: Instant::now(), context, timeout, watched: None, open: true }
    }

    /// Makes the call's context the current one. An outgoing call that is not sampled already runs in its caller's.
    fn enter(&self) -> Option<ContextGuard> {
        let context = match self.side {
            Side::Server => self.context.as_ref(),
            Side::Client => self.sampled(),
        };
        context.cloned().map(Context::attach)
    }

    fn sampled(&self) -> Option<&Context> {
        self.context.as_ref().filter(|cx| cx.span().span_context().is_sampled())
    }

    /// Ends the call with a code alone: no headers or trailers carried a status.
    fn end(&mut self, code: Code) {
        self.end_with(CallEnd { code, said: None, response: None });
    }

    fn end_with(&mut self, end: CallEnd<'_>) {
        let code = end.code;
        if !std::mem::take(&mut self.open) {
            return;
        }
        self.method.ended(code, self.started.elapsed());
        if code != Code::Ok
            && let Some(Watched { watcher, token }) = &self.watched
        {
            watcher.failed(token, self.method.name, end);
        }
        let Some(context) = self.sampled() else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("rpc.response.status_code", code_name(code)));
        if self.is_error(code) {
            span.set_attribute(KeyValue::new("error.type", code_name(code)));
            span.set_status(Status::error(code_name(code)));
        }
        span.end();
    }

    /// On a server span only the server's own failures are errors: a denial is intended behaviour.
    fn is_error(&self, code: Code) -> bool {
        match self.side {
            Side::Client => code != Code::Ok,
            Side::Server => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A server that ends a call at its deadline drops it, as it does when the caller is gone; the time tells which
        // it was.
        let late = self.timeout.is_some_and(|timeout| self.started.elapsed() + TIMER >= timeout);
        self.end(if late { Code::DeadlineExceeded } else { Code::Cancelled });
    }
}

/// The tolerance for timers: how much before the deadline, by our own clock, one may fire.
const TIMER: Duration = Duration::from_millis(2);

/// Headers that each call looks for, parsed once.
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The caller's timeout, from `grpc-timeout`.
fn timeout_in(headers: &HeaderMap) -> Option<Duration> {
    grpc_timeout::parse(headers.get(&GRPC_TIMEOUT)?.as_bytes())
}

/// The status in `grpc-status`, of a trailers-only response or of trailers.
fn status_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(&GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// The status of a service's own error type, which is `tonic::Status` for our channels.
fn status_of<E: 'static>(error: &E) -> Code {
    let error: &dyn std::any::Any = error;
    error.downcast_ref::<tonic::Status>().map_or(Code::Unknown, tonic::Status::code)
}

/// Attributes every RPC span starts with.
fn rpc_attributes(method: &Method, path: &str, address: Option<&(String, u16)>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(8);
    attributes.push(KeyValue::new("rpc.system.name", "grpc"));
    if method.name == OTHER {
        attributes.push(KeyValue::new("rpc.method", OTHER));
        attributes.push(KeyValue::new("rpc.method_original", path.trim_start_matches('/').to_owned()));
    } else {
        attributes.push(KeyValue::new("rpc.method", method.name));
    }
    if let Some((host, port)) = address {
        attributes.push(KeyValue::new("server.address", host.clone()));
        attributes.push(KeyValue::new("server.port", i64::from(*port)));
    }
    attributes
}

mod future {
    use std::pin::Pin;
    use std::task::{Context as Task, Poll, ready};

    use http::Extensions;
    use http::Response;
    use opentelemetry::trace::TraceContextExt;
    use pin_project_lite::pin_project;

    use super::{Call, CallEnd, Decision, TracedBody, decision_attributes, status_in, status_of};

    pin_project! {
        /// Response future of both RPC layers.
        #[derive(Debug)]
        pub struct TracedFuture<F> {
            #[pin]
            inner: F,
            call: Option<Call>,
            decision: Option<fn(&Extensions) -> Option<Decision>>,
        }
    }

    impl<F> TracedFuture<F> {
        pub(super) fn new(
            inner: F,
            call: Call,
            decision: Option<fn(&Extensions) -> Option<Decision>>,
        ) -> Self {
            Self { inner, call: Some(call), decision }
        }
    }

    impl<F, B, E> Future for TracedFuture<F>
    where
        F: Future<Output = Result<Response<B>, E>>,
        B: http_body::Body,
        E: 'static,
    {
        type Output = Result<Response<TracedBody<B>>, E>;

        fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
            let this = self.project();
            let result = {
                let _entered = this.call.as_ref().and_then(Call::enter);
                ready!(this.inner.poll(task))
            };
            let mut call = this.call.take();
            let response = match result {
                Ok(response) => response,
                Err(error) => {
                    if let Some(call) = &mut call {
                        call.end(status_of(&error));
                    }
                    return Poll::Ready(Err(error));
                }
            };
            if let Some(context) = call.as_ref().and_then(Call::sampled)
                && let Some(decision) = this.decision.and_then(|of| of(response.extensions()))
            {
                context.span().set_attributes(decision_attributes(decision));
            }
            if let Some(code) = status_in(response.headers())
                && let Some(mut call) = call.take()
            {
                let (said, response) = (Some(response.headers()), Some(response.extensions()));
                call.end_with(CallEnd { code, said, response });
            }
            Poll::Ready(Ok(response.map(|body| TracedBody::new(body, call))))
        }
    }
}
