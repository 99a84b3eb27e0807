//! The rules of gRPC in front of a service that is not served by [`Server`](crate::Server).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::http_rules::Serves;

/// A gRPC service that answers a request which is no gRPC call, before anything of the service sees it: any method but
/// POST with 405, any content type but `application/grpc` with 415.
///
/// [`Server`](crate::Server) does so by itself; this is for a service on a socket of another kind.
#[derive(Clone, Debug)]
pub struct GrpcOnly<S> {
    inner: S,
}

impl<S> GrpcOnly<S> {
    /// Puts the rules of gRPC in front of `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B, R> Service<Request<B>> for GrpcOnly<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = GrpcOnlyFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match Serves::Grpc.check(&request) {
            Ok(()) => GrpcOnlyFuture { answer: Answer::Forward { future: self.inner.call(request) } },
            Err(broken) => {
                tracing::debug!(status = broken.status().as_u16(), detail = broken.text(), "request refused");
                let response = Some(broken.response(request.version(), R::default()));
                GrpcOnlyFuture { answer: Answer::Refused { response } }
            }
        }
    }
}

pin_project! {
    /// The service's answer, or the refusal.
    #[derive(Debug)]
    pub struct GrpcOnlyFuture<F, R> {
        #[pin]
        answer: Answer<F, R>,
    }
}

pin_project! {
    #[project = Projection]
    #[derive(Debug)]
    enum Answer<F, R> {
        Forward { #[pin] future: F },
        Refused { response: Option<Response<R>> },
    }
}

impl<F, E, R> Future for GrpcOnlyFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answer.project() {
            Projection::Forward { future } => future.poll(cx),
            // Polled again after its end, which no executor does, it has no second answer to give.
            Projection::Refused { response } => response.take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
        }
    }
}
