//! What surrounds every request of a connection: the caller's identity, the call's deadline, a defined end.
//!
//! Adds two extensions to a request. A call past its deadline ends with DEADLINE_EXCEEDED; a stream that would outlive
//! its connection ends with UNAVAILABLE and CONNECTION_RETIRING. A call whose handler has not begun to answer has until
//! the connection's hard end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use avouch_spiffe::{PeerIdentity, Reason};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tower_service::Service;

use crate::deadline::{self, Scoped};
use crate::record::ConnectionInfo;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The service of one connection.
#[derive(Clone)]
pub(super) struct ConnectionService<S> {
    inner: S,
    peer: Option<Arc<PeerIdentity>>,
    info: Arc<ConnectionInfo>,
    ending: CancellationToken,
}

impl<S> ConnectionService<S> {
    pub(super) fn new(
        inner: S,
        peer: Option<Arc<PeerIdentity>>,
        info: Arc<ConnectionInfo>,
        ending: CancellationToken,
    ) -> Self {
        Self { inner, peer, info, ending }
    }
}

impl<S, B> hyper::service::Service<http::Request<Incoming>> for ConnectionService<S>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<GuardedBody<B>>;
    type Error = Infallible;
    type Future = Guarded<S, S::Future>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        let deadline = deadline::from_headers(request.headers()).map(|timeout| Instant::now() + timeout);
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        request.extensions_mut().insert(self.info.clone());
        let call = Call::Readying { service: self.inner.clone(), request: Some(request), deadline };
        Guarded {
            call,
            timer: deadline.map(tokio::time::sleep_until),
            deadline,
            ending: Some(self.ending.clone()),
        }
    }
}

pin_project! {
    #[project = CallProj]
    enum Call<S, F> {
        Readying { service: S, request: Option<http::Request<Incoming>>, deadline: Option<Instant> },
        Bounded { #[pin] future: Scoped<F> },
        Unbounded { #[pin] future: F },
    }
}

pin_project! {
    /// The response of one call, or DEADLINE_EXCEEDED.
    pub(super) struct Guarded<S, F> {
        #[pin]
        call: Call<S, F>,
        #[pin]
        timer: Option<Sleep>,
        deadline: Option<Instant>,
        ending: Option<CancellationToken>,
    }
}

impl<S, B> Future for Guarded<S, S::Future>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    type Output = Result<http::Response<GuardedBody<B>>, Infallible>;

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
                        return Poll::Ready(Ok(guarded(response, *this.deadline, this.ending.take())));
                    }
                    Poll::Pending => {
                        if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                            ready!(timer.poll(cx));
                        }
                        return Poll::Ready(Ok(deadline_exceeded()));
                    }
                },
                CallProj::Unbounded { future } => {
                    let Ok(response) = ready!(future.poll(cx));
                    return Poll::Ready(Ok(guarded(response, None, this.ending.take())));
                }
            };
            this.call.set(next);
        }
    }
}

fn guarded<B>(
    response: http::Response<B>,
    deadline: Option<Instant>,
    ending: Option<CancellationToken>,
) -> http::Response<GuardedBody<B>> {
    response.map(|body| GuardedBody {
        state: State::Open { body },
        deadline,
        timer: None,
        ending,
        ended: None,
        frames: 0,
    })
}

fn deadline_exceeded<B>() -> http::Response<GuardedBody<B>> {
    let status = Status::deadline_exceeded("the deadline passed before the server had an answer");
    status.into_http::<()>().map(|()| GuardedBody {
        state: State::Closed,
        deadline: None,
        timer: None,
        ending: None,
        ended: None,
        frames: 0,
    })
}

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Open { #[pin] body: B },
        Closed,
    }
}

pin_project! {
    /// A response body that ends with trailers of ours when its deadline passes or its connection retires.
    pub(super) struct GuardedBody<B> {
        #[pin]
        state: State<B>,
        deadline: Option<Instant>,
        // Both timers are made only when the body makes us wait: the body of a unary call never does.
        #[pin]
        timer: Option<Sleep>,
        ending: Option<CancellationToken>,
        ended: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
        frames: u32,
    }
}

impl<B> Body for GuardedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let StateProj::Open { body } = this.state.as_mut().project() else {
            return Poll::Ready(None);
        };
        // The first two frames are a unary answer's. What goes on after them is looked at even if it never pauses.
        let is_due = *this.frames >= 2
            && (this.deadline.is_some_and(|deadline| deadline <= Instant::now())
                || this.ending.as_ref().is_some_and(CancellationToken::is_cancelled));
        if !is_due && let Poll::Ready(frame) = body.poll_frame(cx) {
            *this.frames = this.frames.saturating_add(1);
            return Poll::Ready(frame);
        }
        if let Some(deadline) = *this.deadline {
            if this.timer.is_none() {
                this.timer.set(Some(tokio::time::sleep_until(deadline)));
            }
            if let Some(timer) = this.timer.as_mut().as_pin_mut()
                && timer.poll(cx).is_ready()
            {
                this.state.set(State::Closed);
                let status = Status::deadline_exceeded("the deadline passed while the server was answering");
                return Poll::Ready(Some(Ok(trailers(&status))));
            }
        }
        if let Some(ending) = this.ending {
            let wait = this.ended.get_or_insert_with(|| Box::pin(ending.clone().cancelled_owned()));
            if wait.as_mut().poll(cx).is_ready() {
                this.state.set(State::Closed);
                let message = "the connection retires; continue the stream on a new one";
                let status = crate::status::status(Reason::ConnectionRetiring, message, []);
                return Poll::Ready(Some(Ok(trailers(&status))));
            }
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Open { body } => body.is_end_stream(),
            State::Closed => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Open { body } => body.size_hint(),
            State::Closed => SizeHint::with_exact(0),
        }
    }
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut headers = http::HeaderMap::with_capacity(3);
    // Only a status with metadata that is no header can fail here, and ours has none.
    if status.add_header(&mut headers).is_err() {
        headers.insert("grpc-status", http::HeaderValue::from_static("14"));
    }
    Frame::trailers(headers)
}
