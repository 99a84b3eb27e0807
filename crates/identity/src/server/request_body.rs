//! The body of a request: its message has to be complete in time, and the bytes of it that are held are counted.
//!
//! A request whose message never ends holds a call, its handler and the bytes that have come. So the message has a fixed
//! time from the moment somebody first waits for it, which does not begin anew with each byte. Methods whose contract
//! says that the client streams are excepted: their requests end when their clients want.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tonic::Status;

use super::state::ConnectionState;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// The body of a request as a [`Server`](crate::Server) hands it to its service.
    ///
    /// Fails with a [`Status`] inside when its message is not complete within
    /// [`ServerOptions::request_timeout`](crate::ServerOptions::request_timeout), or when its peer holds more than its
    /// share of the listener's bytes.
    pub struct RequestBody {
        #[pin]
        inner: Incoming,
        limits: Option<Limits>,
        // Made only when the body makes somebody wait: that of a unary call rarely does. Boxed, since every layer moves
        // the request.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

/// The limits on a message that has to be complete.
struct Limits {
    timeout: Duration,
    held: u64,
    state: Arc<ConnectionState>,
}

impl Drop for Limits {
    fn drop(&mut self) {
        if self.held > 0 {
            self.state.share.release(self.held);
        }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl RequestBody {
    /// A body whose message is to be complete within `timeout`.
    pub(super) fn bounded(inner: Incoming, timeout: Duration, state: &Arc<ConnectionState>) -> Self {
        let limits = (!inner.is_end_stream()).then(|| Limits { timeout, held: 0, state: state.clone() });
        Self { inner, limits, timer: None }
    }

    /// A body that is a stream of the client's.
    pub(super) fn stream(inner: Incoming) -> Self {
        Self { inner, limits: None, timer: None }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) {
            let frame = frame.transpose()?;
            if let (Some(limits), Some(frame)) = (this.limits, &frame)
                && let Some(data) = frame.data_ref()
                && !this.inner.is_end_stream()
            {
                let bytes = data.len() as u64;
                if let Err(exceeded) = limits.state.share.hold(bytes) {
                    return Poll::Ready(Some(Err(limits.state.exceeded(&exceeded).into())));
                }
                limits.held += bytes;
            }
            return Poll::Ready(frame.map(Ok));
        }
        let Some(limits) = this.limits else { return Poll::Pending };
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limits.timeout)));
        ready!(timer.as_mut().poll(cx));
        let message = format!("the request's message was not complete within {:?}", limits.timeout);
        Poll::Ready(Some(Err(Status::deadline_exceeded(message).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
