//! What comes in on a connection: its first bytes within the handshake's time and, without an identity, not more than
//! an allowance.
//!
//! hyper waits for the HTTP/2 preface for ever, and pings nobody before it. It must not be read ahead of hyper either:
//! a client may wait for our SETTINGS first, which hyper sends before it reads. So the bytes are counted on their way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use avouch_spiffe::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::conduct::Conduct;

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`
const PREFACE: u64 = 24;

/// A connection's stream, watched.
pub(super) struct Inlet<IO> {
    inner: IO,
    read: u64,
    /// Until the preface is there.
    late: Option<Pin<Box<Sleep>>>,
    allowance: u64,
    conduct: Arc<Conduct>,
}

impl<IO> Inlet<IO> {
    /// Ends the connection through `conduct` when there is no preface at `preface_by` (HTTP/2 only), and when it sends
    /// more than `allowance`.
    pub(super) fn new(
        inner: IO,
        preface_by: Option<Instant>,
        allowance: Option<u64>,
        conduct: Arc<Conduct>,
    ) -> Self {
        let late = preface_by.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        Self { inner, read: 0, late, allowance: allowance.unwrap_or(u64::MAX), conduct }
    }

    fn cut(&self, reason: Reason, detail: &'static str) -> Poll<io::Result<()>> {
        self.conduct.cut(reason, detail);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, detail)))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Inlet<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read = self.read.saturating_add(buf.filled().len().saturating_sub(before) as u64);
        if self.read >= PREFACE {
            self.late = None;
        }
        if let Some(late) = &mut self.late
            && late.as_mut().poll(cx).is_ready()
        {
            return self.cut(Reason::HandshakeTimeout, "no HTTP/2 preface within the handshake's time");
        }
        if self.read > self.allowance {
            return self.cut(Reason::RateLimited, "too many bytes on a connection without identity");
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Inlet<IO> {
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
