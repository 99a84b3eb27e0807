//! The body of an answer: it ends with its deadline, its connection or its share, and one that is cut never looks whole.
//!
//! Over gRPC the end is a trailer with the status. Other HTTP has no place for one: the body fails, so that over HTTP/2
//! the stream is reset and over HTTP/1.1 the connection closes before the body's last chunk.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use super::state::CallGuard;
use crate::connection_shutdown::Stage;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A wait that is made when it is first needed.
type Waiting = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Frames of an answer up to this size are not counted: hyper takes as much of any answer without waiting for its peer.
const SMALL: usize = 4 * 1024;

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Open { #[pin] body: B },
        Text { text: Option<Bytes> },
        Closed,
    }
}

pin_project! {
    /// The body of an answer.
    #[project = ResponseBodyProj]
    pub(super) struct ResponseBody<B> {
        #[pin]
        state: State<B>,
        is_grpc: bool,
        deadline: Option<Instant>,
        // The timer and the wait for the connection's end are made only when the body makes us wait: that of a unary call
        // never does.
        #[pin]
        timer: Option<Sleep>,
        call: Option<CallGuard>,
        ended: Waiting,
        // While the connection has much to send.
        less: Waiting,
        frames: u32,
    }
}

impl<B: Body> ResponseBody<B> {
    /// The body of the service's answer.
    pub(super) fn new(
        body: B,
        is_grpc: bool,
        deadline: Option<Instant>,
        mut call: Option<CallGuard>,
    ) -> Self {
        if let Some(call) = &mut call {
            call.set_complete(body.is_end_stream());
        }
        Self {
            state: State::Open { body },
            is_grpc,
            deadline,
            timer: None,
            call,
            ended: None,
            less: None,
            frames: 0,
        }
    }
}

impl<B> ResponseBody<B> {
    /// A short text of ours, or none, that is complete at once.
    pub(super) fn of_text(text: Option<Bytes>, mut call: Option<CallGuard>) -> Self {
        if let Some(call) = &mut call {
            call.set_complete(true);
        }
        let state = match text {
            Some(text) => State::Text { text: Some(text) },
            None => State::Closed,
        };
        Self { state, is_grpc: false, deadline: None, timer: None, call, ended: None, less: None, frames: 0 }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.as_mut().project();
        let mut body = match this.state.as_mut().project() {
            StateProj::Open { body } => body,
            StateProj::Text { text } => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            StateProj::Closed => return Poll::Ready(None),
        };
        let stage = this.call.as_ref().map_or(Stage::Open, |call| call.state.shutdown.stage());
        // A unary response has two frames. From the third on, deadline and shutdown are checked even if the body is always
        // ready.
        let is_due = stage >= Stage::Ended
            || *this.frames >= 2
                && (stage >= Stage::StreamsEnd
                    || this.deadline.is_some_and(|deadline| deadline <= Instant::now()));
        if !is_due
            && (*this.frames < 2 || may_go_on(this.call.as_ref(), this.less, cx))
            && let Poll::Ready(frame) = body.as_mut().poll_frame(cx)
        {
            *this.frames = this.frames.saturating_add(1);
            let complete = match &frame {
                Some(Ok(frame)) => frame.is_trailers() || body.is_end_stream(),
                // Its own end, or a failure that is not the peer's.
                None | Some(Err(_)) => true,
            };
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
            if let Some(call) = this.call {
                call.set_complete(complete);
                // hyper asks for the next frame when the peer has read so much that there is room for one.
                match data.filter(|bytes| *bytes > SMALL) {
                    None => call.release(),
                    Some(bytes) => {
                        if let Err(exceeded) = call.hold(bytes as u64) {
                            let status = call.state.exceeded(&exceeded);
                            return self.end(&status);
                        }
                    }
                }
                if let Some(bytes) = data {
                    call.state.backlog.produced(bytes);
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(status) = this.wait(cx) else { return Poll::Pending };
        self.end(&status)
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

impl<B> ResponseBody<B> {
    /// Ends a body that is open: what is sent next says that it was cut, and why.
    fn end(self: Pin<&mut Self>, status: &Status) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        crate::call_end::dropping(status, || this.state.set(State::Closed));
        if let Some(call) = this.call {
            call.set_complete(true);
        }
        Poll::Ready(Some(if *this.is_grpc { Ok(trailers(status)) } else { Err(status.clone().into()) }))
    }
}

impl<B> ResponseBodyProj<'_, B> {
    /// The status that an answer that waits ends with, if it ends now.
    fn wait(&mut self, cx: &mut Context<'_>) -> Option<Status> {
        if let Some(deadline) = *self.deadline {
            if self.timer.is_none() {
                self.timer.set(Some(tokio::time::sleep_until(deadline)));
            }
            if let Some(timer) = self.timer.as_mut().as_pin_mut()
                && timer.poll(cx).is_ready()
            {
                return Some(Status::deadline_exceeded("the deadline passed while the server was answering"));
            }
        }
        let call = self.call.as_mut()?;
        let shutdown = &call.state.shutdown;
        let wait = self.ended.get_or_insert_with(|| {
            let shutdown = shutdown.clone();
            Box::pin(async move { shutdown.reached(Stage::StreamsEnd).await })
        });
        if wait.as_mut().poll(cx).is_ready() {
            return Some(shutdown.status());
        }
        call.waits().err().map(|exceeded| call.state.exceeded(&exceeded))
    }
}

/// Whether the connection has little enough to send for another piece of a stream.
fn may_go_on(call: Option<&CallGuard>, less: &mut Waiting, cx: &mut Context<'_>) -> bool {
    let Some(call) = call.filter(|call| call.state.backlog.is_much()) else {
        *less = None;
        return true;
    };
    let wait = less.get_or_insert_with(|| {
        let state = call.state.clone();
        Box::pin(async move { state.backlog.is_less().await })
    });
    let may = wait.as_mut().poll(cx).is_ready();
    if may {
        *less = None;
    }
    may
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut headers = http::HeaderMap::with_capacity(3);
    // Only a status with metadata that is no header can fail here, and ours has none.
    if status.add_header(&mut headers).is_err() {
        headers.insert("grpc-status", http::HeaderValue::from_static("14"));
    }
    Frame::trailers(headers)
}
