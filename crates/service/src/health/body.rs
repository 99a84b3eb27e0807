//! The bodies of the health port's answers; each releases its slots in the port's limits when it is dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use avouch_identity::listen::Slot;
use avouch_limits::Network;
use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use super::activity::UnderWay;
use super::limits::SEND_BUFFER;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: tonic::body::Body,
    watch: Option<Watch>,
    is_over: bool,
    _page: Option<Slot<Network>>,
    _under_way: UnderWay,
}

/// A stream of `Watch`, and its slots.
#[derive(Debug)]
pub(super) struct Watch {
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    closing: CancellationToken,
    _place: Slot<Network>,
    _of_connection: OwnedSemaphorePermit,
}

impl Watch {
    /// A stream that ends when `out` is cancelled: with UNAVAILABLE if `closing` is cancelled too, since the port
    /// closes, else with RESOURCE_EXHAUSTED, to make room.
    pub(super) fn new(
        out: CancellationToken,
        closing: CancellationToken,
        place: Slot<Network>,
        of_connection: OwnedSemaphorePermit,
    ) -> Self {
        let ended = Box::pin(out.cancelled_owned());
        Self { ended, closing, _place: place, _of_connection: of_connection }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        self.ended.as_mut().poll(cx).map(|()| {
            if self.closing.is_cancelled() {
                Status::unavailable("the process ends")
            } else {
                Status::resource_exhausted("made room for the watch of another network")
            }
        })
    }
}

impl Answer {
    pub(super) fn new(body: tonic::body::Body, under_way: UnderWay) -> Self {
        Self { body, watch: None, is_over: false, _page: None, _under_way: under_way }
    }

    /// An answer that holds a page.
    pub(super) fn page(body: tonic::body::Body, under_way: UnderWay, page: Option<Slot<Network>>) -> Self {
        Self { _page: page, ..Self::new(body, under_way) }
    }

    /// A response that lasts as long as the peer likes, and is ended by the server when its slot is needed.
    pub(super) fn watch(body: tonic::body::Body, under_way: UnderWay, watch: Watch) -> Self {
        under_way.may_last();
        Self { watch: Some(watch), ..Self::new(body, under_way) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        // Polled first, so that a stream with constant changes ends too.
        if let Some(watch) = &mut this.watch
            && let Poll::Ready(status) = watch.poll_ended(cx)
        {
            this.is_over = true;
            return Poll::Ready(Some(Ok(trailers(&status))));
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut headers = http::HeaderMap::with_capacity(2);
    // This fails only for a status with metadata that is no valid header, and this one has none.
    if status.add_header(&mut headers).is_err() {
        headers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("14"));
    }
    Frame::trailers(headers)
}

/// A text sent in pieces: a frame is held as a whole while a slow peer reads it, even an octet at a time.
#[derive(Debug)]
pub(super) struct Pieces(pub(super) Bytes);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = self.0.len().min(SEND_BUFFER);
        if length == 0 {
            return Poll::Ready(None);
        }
        // Copied: a slice would keep the whole text for as long as it is held.
        let piece = Bytes::copy_from_slice(self.0.get(..length).unwrap_or_default());
        self.0.advance(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
