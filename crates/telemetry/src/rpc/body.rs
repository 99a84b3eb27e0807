//! The response body that ends a call: with the status of its trailers, or as cancelled when it is dropped early.
//!
//! Invariant: a body of a finished call passes everything through and carries nothing.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Code;

use super::{Call, status_in};

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
        let code = match &frame {
            Some(Ok(frame)) => {
                frame.trailers_ref().map(|trailers| status_in(trailers).unwrap_or(Code::Unknown))
            }
            // No trailers, or a broken stream: nobody said how the call ended.
            Some(Err(_)) | None => Some(Code::Unknown),
        };
        if let Some(code) = code
            && let Some(mut call) = this.call.take()
        {
            call.end(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // While the call is open its trailers are still to be seen.
        self.call.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
