//! A stream whose first bytes can be read ahead and are replayed, and which notes what the server says first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::attempt::ConnectAttempt;
use super::first_frame::FirstFrame;

/// A stream that yields what was read ahead, then what `inner` yields.
pub(crate) struct PrefixedIo<IO> {
    ahead: BytesMut,
    /// The bytes of the server's first frame; `None` once it is complete.
    first: Option<Vec<u8>>,
    inner: IO,
    attempt: Arc<ConnectAttempt>,
}

impl<IO> PrefixedIo<IO> {
    pub(super) fn new(inner: IO, attempt: Arc<ConnectAttempt>) -> Self {
        // Room for a server's SETTINGS and GOAWAY at once.
        let ahead = BytesMut::with_capacity(1024);
        Self { ahead, first: Some(Vec::new()), inner, attempt }
    }

    /// Tells the attempt what the server said first, as soon as that is clear.
    fn note(&mut self, read: Result<&[u8], &io::Error>) {
        let Some(first) = &mut self.first else { return };
        match read {
            Ok([]) => self.attempt.hear_end(),
            Err(error) => self.attempt.hear_error(error),
            Ok(bytes) => {
                first.extend_from_slice(bytes);
                match FirstFrame::parse(first) {
                    FirstFrame::Part => return,
                    frame => self.attempt.hear(frame),
                }
            }
        }
        self.first = None;
    }
}

impl<IO: AsyncRead + Unpin> PrefixedIo<IO> {
    /// Reads until it is clear what the server says first. Nothing is lost when this is dropped on the way.
    pub(super) async fn read_ahead(&mut self) {
        while self.first.is_some() {
            let before = self.ahead.len();
            let outcome = self.inner.read_buf(&mut self.ahead).await;
            let read = self.ahead.get(before..).unwrap_or_default().to_vec();
            self.note(outcome.as_ref().map(|_| read.as_slice()));
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for PrefixedIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(self.ahead.split_to(length).chunk());
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let outcome = std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        if self.first.is_some() {
            self.note(outcome.as_ref().map(|()| buf.filled().get(before..).unwrap_or_default()));
        }
        Poll::Ready(outcome)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for PrefixedIo<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
