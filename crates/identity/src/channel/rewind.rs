//! A stream whose first bytes were read ahead and are replayed, and which notes what it yields first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::circumstances::Circumstances;

/// Yields `first`, then what `inner` yields.
pub(crate) struct Rewind<IO> {
    first: Bytes,
    inner: IO,
    attempt: Arc<Circumstances>,
}

impl<IO> Rewind<IO> {
    pub(crate) fn new(first: Bytes, inner: IO, attempt: Arc<Circumstances>) -> Self {
        Self { first, inner, attempt }
    }

    pub(crate) fn get_ref(&self) -> &IO {
        &self.inner
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewind<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            let before = buf.filled().len();
            let outcome = std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
            self.attempt.hear(outcome.as_ref().map(|()| buf.filled().len() - before));
            return Poll::Ready(outcome);
        }
        let length = self.first.len().min(buf.remaining());
        let chunk = self.first.split_to(length);
        buf.put_slice(chunk.chunk());
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewind<IO> {
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
