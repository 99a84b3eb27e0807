//! The response body that ends a call: with the status of its trailers, or as cancelled when it is dropped early.
//!
//! Invariant: a body of a finished call passes everything through and carries nothing.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Code;

use super::{Call, CallEnd, status_in};

pin_project! {
    /// A response body whose end is the end of the RPC's span and duration.
    #[derive(Debug)]
    pub struct TracedBody<B> {
        #[pin]
        inner: B,
        call: Option<Call>,
    }
}

impl<B> TracedBody<B> {
    pub(super) fn new(inner: B, call: Option<Call>) -> Self {
        Self { inner, call }
    }
}

/// An untraced body: for a service that answers without having been called.
impl<B: Default> Default for TracedBody<B> {
    fn default() -> Self {
        Self { inner: B::default(), call: None }
    }
}

impl<B: Body> Body for TracedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = {
            let _entered = this.call.as_ref().and_then(Call::enter);
            ready!(this.inner.poll_frame(task))
        };
        let end = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(|trailers| {
                let code = status_in(trailers).unwrap_or(Code::Unknown);
                CallEnd { code, said: Some(trailers), response: None }
            }),
            // No trailers, or a broken stream: the call ended without a status.
            Some(Err(_)) | None => Some(CallEnd { code: Code::Unknown, said: None, response: None }),
        };
        if let Some(end) = end
            && let Some(mut call) = this.call.take()
        {
            call.end_with(end);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // While the call is open, its trailers are still to come.
        self.call.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
