//! The stream of a connection, with limits: its preface comes within the handshake's time, a peer without an identity
//! sends no more bytes than its allowance, and bytes that wait for a peer that does not read are counted.
//!
//! hyper waits for the HTTP/2 preface for ever, and pings no peer before it. It must not be read ahead of hyper either:
//! a client may wait for our SETTINGS first, which hyper sends before it reads. So the bytes are counted as they pass.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use avouch_spiffe::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::state::ConnectionState;

/// The octets of the client's preface, `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113 §3.4).
const PREFACE: u64 = 24;

/// A connection's stream with a limit on its first bytes and, without an identity, on all of them.
pub(super) struct LimitedStream<IO> {
    inner: IO,
    read: u64,
    /// The time limit of the preface, until it is there.
    late: Option<Pin<Box<Sleep>>>,
    allowance: u64,
    /// The bytes taken of the peer's share while the socket takes nothing.
    held: u64,
    state: Arc<ConnectionState>,
}

impl<IO> LimitedStream<IO> {
    /// A stream that shuts its connection down when there is no preface at `preface_by` (HTTP/2 only), and when the peer
    /// sends more than `allowance` bytes.
    pub(super) fn new(
        inner: IO,
        preface_by: Option<Instant>,
        allowance: Option<u64>,
        state: Arc<ConnectionState>,
    ) -> Self {
        let late = preface_by.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        Self { inner, read: 0, late, allowance: allowance.unwrap_or(u64::MAX), held: 0, state }
    }

    fn cut(&self, reason: Reason, detail: &'static str) -> Poll<io::Result<()>> {
        self.state.shutdown.cut(reason, detail);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, detail)))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for LimitedStream<IO> {
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

impl<IO> LimitedStream<IO> {
    /// Notes what became of a write or a flush. Blocked: what waits for the peer counts in its share, and a peer whose
    /// share is exceeded loses the connection, since nothing else would give the memory back.
    fn note(&mut self, blocked: bool) {
        let waits = if blocked { self.state.backlog.bytes() } else { 0 };
        if waits == self.held {
            return;
        }
        self.state.share.release(std::mem::take(&mut self.held));
        if waits == 0 {
            return;
        }
        match self.state.share.hold(waits) {
            Ok(()) => self.held = waits,
            Err(exceeded) => self.state.shutdown.cut(Reason::RateLimited, exceeded.to_string()),
        }
    }

    fn written(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.state.backlog.taken(bytes);
        }
        self.note(polled.is_pending());
        polled
    }
}

impl<IO> Drop for LimitedStream<IO> {
    fn drop(&mut self) {
        self.state.share.release(self.held);
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for LimitedStream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        if let Poll::Ready(Ok(())) = polled {
            self.state.backlog.flushed();
        }
        self.note(polled.is_pending());
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
