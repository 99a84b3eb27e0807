//! The bodies of the health port's answers: what they hold of the port's limits is given back with them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use avouch_identity::listen::Seat;
use avouch_spiffe::Network;
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
    _page: Option<Seat<Network>>,
    _under_way: UnderWay,
}

/// A stream of `Watch`, and its places.
#[derive(Debug)]
pub(super) struct Watch {
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    closing: CancellationToken,
    _place: Seat<Network>,
    _of_connection: OwnedSemaphorePermit,
}

impl Watch {
    /// Ends when `out` is cancelled: because the port closes if `closing` is cancelled too, else to make room.
    pub(super) fn new(
        out: CancellationToken,
        closing: CancellationToken,
        place: Seat<Network>,
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
    pub(super) fn page(body: tonic::body::Body, under_way: UnderWay, page: Option<Seat<Network>>) -> Self {
        Self { _page: page, ..Self::new(body, under_way) }
    }

    /// An answer that lasts as long as the peer likes, and is ended from here when its place is needed.
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
        // First, so that a stream of changes cannot outrun its end.
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
    // Only a status with metadata that is no header can fail here, and ours has none.
    if status.add_header(&mut headers).is_err() {
        headers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("14"));
    }
    Frame::trailers(headers)
}

/// A text in pieces: what is handed over at once is held, as a whole, for a peer that takes an octet at a time.
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
