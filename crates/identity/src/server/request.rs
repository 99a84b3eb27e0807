//! The service around every request of a connection: the rules of HTTP, the caller's identity, the call's deadline, its
//! share of the listener, a defined end.
//!
//! A request that breaks a rule of HTTP or of gRPC is answered here, before it is authorized or served. Adds
//! `Arc<PeerIdentity>` and `Arc<ConnectionInfo>` to the extensions of a request. A call past its deadline ends with DEADLINE_EXCEEDED; a stream that would outlive its
//! connection ends with the connection's cause. A call whose handler has not begun to answer has until the connection's
//! hard end. The [`AbuseGuard`](super::abuse::AbuseGuard) of the connection is told how each call ended.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tower_service::Service;

use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use super::state::{CallGuard, ConnectionState};
use crate::connection_shutdown::Stage;
use crate::deadline::{self, Scoped};
use crate::http_rules::{RuleBroken, has_grpc_content_type};
use crate::record::RequestRefused;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The service of one connection.
#[derive(Clone)]
pub(super) struct ConnectionService<S> {
    inner: S,
    state: Arc<ConnectionState>,
}

impl<S> ConnectionService<S> {
    pub(super) fn new(inner: S, state: Arc<ConnectionState>) -> Self {
        Self { inner, state }
    }

    /// Lets a request through to the service, or says why it is answered without.
    fn admit(&self, request: &http::Request<Incoming>) -> Result<CallGuard, EarlyAnswer> {
        // First: on a connection that has ended nothing is worth a look.
        if self.state.shutdown.stage() >= Stage::Ended {
            return Err(EarlyAnswer::Ended);
        }
        let call = CallGuard::begin(&self.state)
            .map_err(|exceeded| EarlyAnswer::Exceeded(self.state.exceeded(&exceeded)))?;
        match self.state.shared.serves.check(request) {
            Ok(()) => Ok(call),
            Err(broken) => {
                self.broken(broken);
                Err(EarlyAnswer::Broken { broken, call })
            }
        }
    }

    /// Tells of a request that is answered without the service.
    #[cold]
    fn broken(&self, broken: RuleBroken) {
        self.state.call_denied();
        self.state.shared.request_refused(&RequestRefused {
            id: self.state.info.id,
            peer_addr: self.state.info.peer_addr,
            peer_id: self.state.peer_id(),
            status: broken.status().as_u16(),
            detail: broken.text(),
        });
    }
}

/// The reason to answer a request without the service.
enum EarlyAnswer {
    Ended,
    Exceeded(Status),
    Broken { broken: RuleBroken, call: CallGuard },
}

impl<S, B> hyper::service::Service<http::Request<Incoming>> for ConnectionService<S>
where
    S: Service<http::Request<RequestBody>, Response = http::Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<ResponseBody<B>>;
    type Error = Infallible;
    type Future = Answering<S, S::Future, B>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let shared = &self.state.shared;
        let is_grpc = shared.serves.is_grpc(&request);
        let guard = match self.admit(&request) {
            Ok(guard) => guard,
            Err(early) => {
                let response = self.answer(early, is_grpc, request.version());
                return Answering {
                    call: Call::Answered { response: Some(response) },
                    timer: None,
                    deadline: None,
                    guard: None,
                    is_grpc,
                    ended: None,
                };
            }
        };
        // Only gRPC knows the header, and how to say that its time is over.
        let timeout = is_grpc.then(|| deadline::from_headers(request.headers())).flatten();
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let is_stream = shared.is_client_stream(request.uri().path());
        let mut request = request.map(|body| match is_stream {
            true => RequestBody::stream(body),
            false => RequestBody::bounded(body, shared.options.request_timeout, &self.state),
        });
        if let Some(peer) = &self.state.peer {
            request.extensions_mut().insert(peer.clone());
        }
        request.extensions_mut().insert(self.state.info.clone());
        let call = Call::Readying { service: self.inner.clone(), request: Some(request), deadline };
        Answering { call, timer: None, deadline, guard: Some(guard), is_grpc, ended: None }
    }
}

impl<S> ConnectionService<S> {
    #[cold]
    fn answer<B: Body>(
        &self,
        early: EarlyAnswer,
        is_grpc: bool,
        version: http::Version,
    ) -> http::Response<ResponseBody<B>> {
        let status = match early {
            EarlyAnswer::Broken { broken, call } => {
                let text = Bytes::from_static(broken.text().as_bytes());
                return broken.response(version, ResponseBody::of_text(Some(text), Some(call)));
            }
            EarlyAnswer::Ended => self.state.shutdown.status(),
            EarlyAnswer::Exceeded(status) => status,
        };
        refused(status, is_grpc, None)
    }
}

/// The answer to a request that is not served, or not to its end: a status for gRPC, 503 with a text for other HTTP.
#[cold]
fn refused<B>(status: Status, is_grpc: bool, guard: Option<CallGuard>) -> http::Response<ResponseBody<B>> {
    if is_grpc {
        return status.into_http::<()>().map(|()| ResponseBody::of_text(None, guard));
    }
    let text = Bytes::from(status.message().to_owned());
    let mut response = http::Response::new(ResponseBody::of_text(Some(text), guard));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pin_project! {
    #[project = CallProj]
    enum Call<S, F, B> {
        Readying { service: S, request: Option<http::Request<RequestBody>>, deadline: Option<Instant> },
        Bounded { #[pin] future: Scoped<F> },
        Unbounded { #[pin] future: F },
        Answered { response: Option<http::Response<ResponseBody<B>>> },
    }
}

pin_project! {
    /// The answer of one call, or DEADLINE_EXCEEDED, or the cause for which its connection ends, or what is answered without
    /// the service.
    #[project = AnsweringProj]
    pub(super) struct Answering<S, F, B> {
        #[pin]
        call: Call<S, F, B>,
        // Made only for a handler that makes us wait.
        #[pin]
        timer: Option<Sleep>,
        deadline: Option<Instant>,
        // Until there is an answer: what is dropped before was abandoned.
        guard: Option<CallGuard>,
        is_grpc: bool,
        // Made only for a handler that makes us wait, and in place: a call allocates nothing for it.
        #[pin]
        ended: Option<OwnedNotified>,
    }
}

impl<S, B> Future for Answering<S, S::Future, B>
where
    S: Service<http::Request<RequestBody>, Response = http::Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    type Output = Result<http::Response<ResponseBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.call.as_mut().project() {
                CallProj::Readying { service, request, deadline } => {
                    let Ok(()) = ready!(service.poll_ready(cx));
                    let Some(request) = request.take() else {
                        return Poll::Pending;
                    };
                    let future = service.call(request);
                    match deadline {
                        Some(deadline) => Call::Bounded { future: deadline::scoped(*deadline, future) },
                        None => Call::Unbounded { future },
                    }
                }
                CallProj::Bounded { future } => match future.poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        return Poll::Ready(Ok(answered(response, *this.deadline, this.guard.take())));
                    }
                    Poll::Pending => {
                        if let Some(status) = ended(this.guard.as_ref(), this.ended.as_mut(), cx) {
                            return Poll::Ready(Ok(this.end(status)));
                        }
                        if this.timer.is_none() {
                            this.timer.set(this.deadline.map(tokio::time::sleep_until));
                        }
                        if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                            ready!(timer.poll(cx));
                        }
                        return Poll::Ready(Ok(deadline_exceeded(this.guard.take())));
                    }
                },
                CallProj::Unbounded { future } => match future.poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        return Poll::Ready(Ok(answered(response, None, this.guard.take())));
                    }
                    Poll::Pending => {
                        let status = ready!(
                            ended(this.guard.as_ref(), this.ended.as_mut(), cx)
                                .map_or(Poll::Pending, Poll::Ready)
                        );
                        return Poll::Ready(Ok(this.end(status)));
                    }
                },
                CallProj::Answered { response } => {
                    return response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                }
            };
            this.call.set(next);
        }
    }
}

impl<S, B> AnsweringProj<'_, S, S::Future, B>
where
    S: Service<http::Request<RequestBody>>,
{
    /// Drops the handler, and answers in its place.
    #[cold]
    fn end(&mut self, status: Status) -> http::Response<ResponseBody<B>> {
        crate::call_end::dropping(&status, || self.call.set(Call::Answered { response: None }));
        refused(status, *self.is_grpc, self.guard.take())
    }
}

/// The status of a call whose connection has ended before its answer.
fn ended(
    guard: Option<&CallGuard>,
    wait: Pin<&mut Option<OwnedNotified>>,
    cx: &mut Context<'_>,
) -> Option<Status> {
    let shutdown = &guard?.state.shutdown;
    let is_ended = shutdown.poll_reached(Stage::Ended, wait, cx).is_ready();
    is_ended.then(|| shutdown.status())
}

fn answered<B: Body>(
    response: http::Response<B>,
    deadline: Option<Instant>,
    guard: Option<CallGuard>,
) -> http::Response<ResponseBody<B>> {
    let is_grpc = has_grpc_content_type(response.headers());
    if let Some(guard) = &guard
        && guard.state.abuse.counts_denials()
        && is_denial(response.headers())
    {
        guard.state.call_denied();
    }
    response.map(|body| ResponseBody::new(body, is_grpc, deadline, guard))
}

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// PERMISSION_DENIED, RESOURCE_EXHAUSTED or UNAUTHENTICATED, in an answer that is nothing else.
fn is_denial(headers: &http::HeaderMap) -> bool {
    headers.get(&GRPC_STATUS).is_some_and(|code| matches!(code.as_bytes(), b"7" | b"8" | b"16"))
}

fn deadline_exceeded<B>(guard: Option<CallGuard>) -> http::Response<ResponseBody<B>> {
    let status = Status::deadline_exceeded("the deadline passed before the server had an answer");
    status.into_http::<()>().map(|()| ResponseBody::of_text(None, guard))
}
