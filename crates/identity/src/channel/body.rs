//! The body of a response, under the call's deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tonic::Status;

use super::attempt::ConnectAttempt;
use super::call_failure::{Awaited, Deadline, broken};
use super::outgoing::Pump;

pin_project! {
    /// A response body as it arrives.
    pub struct ResponseBody {
        stream: RecvStream,
        data_ended: bool,
        deadline: Option<Deadline>,
        // For what is said when it breaks off.
        attempt: Arc<ConnectAttempt>,
        // Sends the rest of a streamed request as long as the answer is read.
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
    pub(super) fn new(
        stream: RecvStream,
        deadline: Option<Deadline>,
        pump: Option<Pump>,
        attempt: Arc<ConnectAttempt>,
    ) -> Self {
        Self { stream, data_ended: false, deadline, attempt, pump, timer: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = poll_stream(this.stream, this.data_ended, cx) {
            let told = |error: h2::Error| broken(&error, this.attempt);
            return Poll::Ready(frame.map(|frame| frame.map_err(told)));
        }
        if let Some(deadline) = this.deadline {
            if this.timer.is_none() {
                this.timer.set(Some(tokio::time::sleep_until(deadline.at)));
            }
            if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                ready!(timer.poll(cx));
                let status = deadline.exceeded(Awaited::RestOfAnswer, this.attempt);
                return Poll::Ready(Some(Err(status)));
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
) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
    if !*data_ended {
        match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // Fails only for a stream that has ended, which the next poll reports.
                let _ = stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => *data_ended = true,
        }
    }
    match ready!(stream.poll_trailers(cx)) {
        Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
        Ok(None) => Poll::Ready(None),
        Err(error) => Poll::Ready(Some(Err(error))),
    }
}
