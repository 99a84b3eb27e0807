//! The body of a response, under the call's deadline.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use avouch_spiffe::Reason;
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use super::outgoing::Pump;

pin_project! {
    /// A response body as it arrives.
    pub struct ResponseBody {
        stream: RecvStream,
        data_ended: bool,
        deadline: Option<Instant>,
        // Sends the rest of a streamed request as long as somebody reads the answer.
        pump: Option<Pump>,
        // Made only when the body makes us wait.
        #[pin]
        timer: Option<Sleep>,
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl ResponseBody {
    pub(super) fn new(stream: RecvStream, deadline: Option<Instant>, pump: Option<Pump>) -> Self {
        Self { stream, data_ended: false, deadline, pump, timer: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = poll_stream(this.stream, this.data_ended, cx) {
            return Poll::Ready(frame);
        }
        if let Some(deadline) = *this.deadline {
            if this.timer.is_none() {
                this.timer.set(Some(tokio::time::sleep_until(deadline)));
            }
            if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                ready!(timer.poll(cx));
                return Poll::Ready(Some(Err(super::call::deadline_exceeded())));
            }
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.data_ended && self.stream.is_end_stream()
    }
}

fn poll_stream(
    stream: &mut RecvStream,
    data_ended: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
    if !*data_ended {
        match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // Fails only for a stream that has ended, which the next poll reports.
                let _ = stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(broken(&error)))),
            None => *data_ended = true,
        }
    }
    match ready!(stream.poll_trailers(cx)) {
        Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
        Ok(None) => Poll::Ready(None),
        Err(error) => Poll::Ready(Some(Err(broken(&error)))),
    }
}

/// The status of a call whose stream broke after the peer may have begun with it (gRPC over HTTP/2, error codes).
pub(super) fn broken(error: &h2::Error) -> Status {
    let message = format!("the call broke off: {error}");
    match error.reason() {
        Some(h2::Reason::CANCEL) => Status::cancelled(message),
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Status::resource_exhausted(message),
        Some(h2::Reason::INADEQUATE_SECURITY) => Status::permission_denied(message),
        Some(h2::Reason::PROTOCOL_ERROR | h2::Reason::INTERNAL_ERROR | h2::Reason::FLOW_CONTROL_ERROR)
            if error.is_reset() =>
        {
            Status::internal(message)
        }
        _ => crate::status::status(Reason::PeerConnectionClosed, message, []),
    }
}
