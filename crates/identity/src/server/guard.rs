//! What surrounds every request of a connection: the rules of HTTP, the caller's identity, the call's deadline, a defined
//! end.
//!
//! A request that breaks a rule of HTTP or of gRPC is answered here, before anything decides or serves. //! Adds two extensions to a request. A call past its deadline ends with DEADLINE_EXCEEDED; a stream that would outlive
//! its connection ends with UNAVAILABLE and CONNECTION_RETIRING. A call whose handler has not begun to answer has until
//! the connection's hard end. What becomes of each call is told to the connection's [`Conduct`].

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
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tower_service::Service;

use super::Shared;
use super::conduct::Conduct;
use crate::deadline::{self, Scoped};
use crate::http_rules::RuleBroken;
use crate::record::{ConnectionInfo, RequestRefused};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The service of one connection.
#[derive(Clone)]
pub(super) struct ConnectionService<S> {
    shared: Arc<Shared>,
    inner: S,
    peer: Option<Arc<PeerIdentity>>,
    info: Arc<ConnectionInfo>,
    conduct: Arc<Conduct>,
}

impl<S> ConnectionService<S> {
    pub(super) fn new(
        shared: Arc<Shared>,
        inner: S,
        peer: Option<Arc<PeerIdentity>>,
        info: Arc<ConnectionInfo>,
        conduct: Arc<Conduct>,
    ) -> Self {
        Self { shared, inner, peer, info, conduct }
    }

    /// Tells of a request that is answered without the service.
    #[cold]
    fn refuse(&self, broken: RuleBroken) {
        self.conduct.refused();
        self.shared.request_refused(&RequestRefused {
            id: self.info.id,
            peer_addr: self.info.peer_addr,
            peer_id: self.peer.as_deref().map(PeerIdentity::spiffe_id),
            status: broken.status().as_u16(),
            detail: broken.text(),
        });
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
        if let Err(broken) = self.shared.serves.check(&request) {
            self.refuse(broken);
            return Guarded {
                call: Call::Refused { broken, version: request.version() },
                timer: None,
                deadline: None,
                conduct: Some(self.conduct.clone()),
            };
        }
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
            conduct: Some(self.conduct.clone()),
        }
    }
}

pin_project! {
    #[project = CallProj]
    enum Call<S, F> {
        Readying { service: S, request: Option<http::Request<Incoming>>, deadline: Option<Instant> },
        Bounded { #[pin] future: Scoped<F> },
        Unbounded { #[pin] future: F },
        Refused { broken: RuleBroken, version: http::Version },
    }
}

pin_project! {
    /// The response of one call, or DEADLINE_EXCEEDED, or that the request is none.
    pub(super) struct Guarded<S, F> {
        #[pin]
        call: Call<S, F>,
        #[pin]
        timer: Option<Sleep>,
        deadline: Option<Instant>,
        // Until there is an answer.
        conduct: Option<Arc<Conduct>>,
    }

    impl<S, F> PinnedDrop for Guarded<S, F> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(conduct) = this.project().conduct.take() {
                conduct.abandoned();
            }
        }
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
                        return Poll::Ready(Ok(guarded(response, *this.deadline, this.conduct.take())));
                    }
                    Poll::Pending => {
                        if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                            ready!(timer.poll(cx));
                        }
                        return Poll::Ready(Ok(deadline_exceeded(this.conduct.take())));
                    }
                },
                CallProj::Unbounded { future } => {
                    let Ok(response) = ready!(future.poll(cx));
                    return Poll::Ready(Ok(guarded(response, None, this.conduct.take())));
                }
                CallProj::Refused { broken, version } => {
                    let text = Bytes::from_static(broken.text().as_bytes());
                    let body = closed(State::Text { text: Some(text) }, this.conduct.take());
                    return Poll::Ready(Ok(broken.response(*version, body)));
                }
            };
            this.call.set(next);
        }
    }
}

fn guarded<B: Body>(
    response: http::Response<B>,
    deadline: Option<Instant>,
    conduct: Option<Arc<Conduct>>,
) -> http::Response<GuardedBody<B>> {
    if let Some(conduct) = &conduct
        && conduct.counts_refusals()
        && is_refusal(response.headers())
    {
        conduct.refused();
    }
    response.map(|body| GuardedBody {
        complete: body.is_end_stream(),
        state: State::Open { body },
        deadline,
        timer: None,
        conduct,
        ended: None,
        frames: 0,
    })
}

/// PERMISSION_DENIED, RESOURCE_EXHAUSTED or UNAUTHENTICATED, in an answer that is nothing else.
fn is_refusal(headers: &http::HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|code| matches!(code.as_bytes(), b"7" | b"8" | b"16"))
}

fn deadline_exceeded<B>(conduct: Option<Arc<Conduct>>) -> http::Response<GuardedBody<B>> {
    let status = Status::deadline_exceeded("the deadline passed before the server had an answer");
    status.into_http::<()>().map(|()| closed(State::Closed, conduct))
}

/// A body of ours, for which nobody waits.
fn closed<B>(state: State<B>, conduct: Option<Arc<Conduct>>) -> GuardedBody<B> {
    GuardedBody { state, deadline: None, timer: None, conduct, ended: None, frames: 0, complete: true }
}

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Open { #[pin] body: B },
        Text { text: Option<Bytes> },
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
        conduct: Option<Arc<Conduct>>,
        ended: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
        frames: u32,
        // Nothing more is to come: what is dropped before was abandoned by the peer.
        complete: bool,
    }

    impl<B> PinnedDrop for GuardedBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            match this.conduct.take() {
                Some(conduct) if *this.complete => conduct.answered(),
                Some(conduct) => conduct.abandoned(),
                None => {}
            }
        }
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
        let mut body = match this.state.as_mut().project() {
            StateProj::Open { body } => body,
            StateProj::Text { text } => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            StateProj::Closed => return Poll::Ready(None),
        };
        // The first two frames are a unary answer's. What goes on after them is looked at even if it never pauses.
        let is_due = *this.frames >= 2
            && (this.deadline.is_some_and(|deadline| deadline <= Instant::now())
                || this.conduct.as_ref().is_some_and(|conduct| conduct.retiring.is_cancelled()));
        if !is_due && let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
            *this.frames = this.frames.saturating_add(1);
            *this.complete = match &frame {
                Some(Ok(frame)) => frame.is_trailers() || body.is_end_stream(),
                // Its own end, or a failure that is not the peer's.
                None | Some(Err(_)) => true,
            };
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
                *this.complete = true;
                let status = Status::deadline_exceeded("the deadline passed while the server was answering");
                return Poll::Ready(Some(Ok(trailers(&status))));
            }
        }
        if let Some(conduct) = this.conduct {
            let retiring = || Box::pin(conduct.retiring.clone().cancelled_owned());
            let wait = this.ended.get_or_insert_with(retiring);
            if wait.as_mut().poll(cx).is_ready() {
                this.state.set(State::Closed);
                *this.complete = true;
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
            State::Text { text } => text.is_none(),
            State::Closed => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Open { body } => body.size_hint(),
            State::Text { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
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
