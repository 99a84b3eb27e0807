//! Accepting connections, alike for every listener of a process.
//!
//! [`Acceptor`] takes connections from a socket, survives the errors of single ones, and leaves a reserve of descriptors
//! to the rest of the process ([`Share`]). [`FairLimiter`] shares a bounded number of slots out by source network, so
//! that no network locks out the others.

pub mod descriptors;
mod fair_limiter;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use avouch_limits::{Network, RateLimiter, log_lines};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

pub use descriptors::{Share, Shortage};
pub use fair_limiter::{FairLimiter, Key, Slot};

/// The time for which a freed descriptor is waited for: the task of an evicted connection has to run before it is free.
const ROOM_TIMEOUT: Duration = Duration::from_millis(50);

/// A listening socket.
pub trait Listener: Send + Sync {
    /// One connection.
    type Stream: AsFd + Send;
    /// The address that a connection comes from.
    type Address: Send;

    /// The next connection that a client opens.
    ///
    /// # Errors
    /// Those of accept(2).
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Address)>> + Send;

    /// A connection from its descriptor, which does not block.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    fn stream(descriptor: OwnedFd) -> io::Result<Self::Stream>;

    /// The address that the listener is bound to, for the log.
    fn name(&self) -> Option<String>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (tcp, peer) = TcpListener::accept(self).await?;
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        Ok((tcp, peer))
    }

    fn stream(descriptor: OwnedFd) -> io::Result<TcpStream> {
        TcpStream::from_std(descriptor.into())
    }

    fn name(&self) -> Option<String> {
        self.local_addr().ok().map(|address| address.to_string())
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Address = tokio::net::unix::SocketAddr;

    async fn accept(&self) -> io::Result<(UnixStream, Self::Address)> {
        UnixListener::accept(self).await
    }

    fn stream(descriptor: OwnedFd) -> io::Result<UnixStream> {
        UnixStream::from_std(descriptor.into())
    }

    fn name(&self) -> Option<String> {
        self.local_addr().ok()?.as_pathname().map(|path| path.display().to_string())
    }
}

/// The outcome of one attempt to accept a connection.
#[derive(Debug)]
pub enum Accepted<L: Listener> {
    /// A connection.
    Connection(L::Stream, L::Address),
    /// A connection for which there is no descriptor outside of the reserve: to be closed at once.
    Refused(L::Stream, L::Address, Shortage),
    /// No connection: the attempt failed, which says nothing about the next one.
    Nothing,
}

/// Accepts connections from one listening socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: &'static str,
    share: Share,
    failures: RateLimiter<()>,
}

impl Acceptor {
    /// An acceptor of the listener that the log calls `listener`, which may take `share` of the descriptors.
    #[must_use]
    pub fn new(listener: &'static str, share: Share) -> Self {
        Self { listener, share, failures: log_lines() }
    }

    /// The next connection. When descriptors run out `make_room` is called to close some of this listener's own
    /// connections; it says whose they were, if there were any.
    ///
    /// # Errors
    /// When the listening socket itself has failed.
    pub async fn accept<L: Listener>(
        &self,
        socket: &L,
        make_room: impl Fn() -> Option<Network>,
    ) -> io::Result<Accepted<L>> {
        match socket.accept().await {
            Ok((stream, address)) => match self.share.shortage(stream.as_fd()) {
                None => Ok(Accepted::Connection(stream, address)),
                Some(shortage) => {
                    let made_room = make_room();
                    self.log(socket, made_room, &shortage);
                    Ok(match self.renumber::<L>(&stream).await {
                        Some(stream) => Accepted::Connection(stream, address),
                        None => Accepted::Refused(stream, address, shortage),
                    })
                }
            },
            Err(error) if is_fatal(&error) => Err(error),
            Err(error) => {
                let made_room = if is_exhausted(&error) { make_room() } else { None };
                self.log(socket, made_room, &error);
                // A pause, so that an accept that goes on failing does not spin.
                tokio::time::sleep(made_room.map_or(ROOM_TIMEOUT, |_| Duration::from_millis(1))).await;
                Ok(Accepted::Nothing)
            }
        }
    }

    /// The same connection under a descriptor that this listener may have, once there is one. Meanwhile one of the
    /// reserve is in use, and no other connection is accepted.
    async fn renumber<L: Listener>(&self, stream: &L::Stream) -> Option<L::Stream> {
        let deadline = tokio::time::Instant::now() + ROOM_TIMEOUT;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
            // dup(2) returns the lowest free number, which may be outside of the reserve by now.
            let Ok(descriptor) = rustix::io::fcntl_dupfd_cloexec(stream.as_fd(), 0) else { continue };
            if self.share.shortage(descriptor.as_fd()).is_none() {
                return L::stream(descriptor).ok();
            }
        }
        None
    }

    fn log<L: Listener>(&self, socket: &L, made_room: Option<Network>, why: &dyn std::fmt::Display) {
        let Ok(suppressed) = self.failures.check((), Instant::now()) else { return };
        tracing::error!(
            listener = self.listener,
            address = socket.name(),
            error = %why,
            closed_connections_of = made_room.map(|network| network.to_string()),
            suppressed,
            "a connection could not be accepted"
        );
    }
}

fn is_fatal(error: &io::Error) -> bool {
    const EBADF: i32 = 9;
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected)
        || error.raw_os_error() == Some(EBADF)
}

/// Whether the process or the system has run out of descriptors or memory.
fn is_exhausted(error: &io::Error) -> bool {
    const EXHAUSTED: [i32; 4] = [23, 24, 12, 105]; // ENFILE, EMFILE, ENOMEM, ENOBUFS
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}
