//! Accepting connections: what every listener of a process does alike, whatever it serves.
//!
//! [`Acceptor`] takes connections from a socket, survives what concerns a single one, and leaves a reserve of
//! descriptors to the rest of the process ([`Share`]). [`Fair`] shares a bounded number of places out by source
//! network, so that nobody locks out others.

pub mod descriptors;
mod fair;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use avouch_spiffe::Network;
use avouch_spiffe::throttle::{self, Throttle};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

pub use descriptors::{Share, Shortage};
pub use fair::{Fair, Key, Seat};

/// How long room that was made may take to show: a task that is shown out has to run before its descriptor is free.
const PATIENCE: Duration = Duration::from_millis(50);

/// A listening socket.
pub trait Listener: Send + Sync {
    /// One connection.
    type Stream: AsFd + Send;
    /// Where a connection comes from.
    type Address: Send;

    /// The next connection.
    ///
    /// # Errors
    /// Those of accept(2).
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Address)>> + Send;

    /// A connection from its descriptor, which does not block.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    fn stream(descriptor: OwnedFd) -> io::Result<Self::Stream>;

    /// Where it listens, for the log.
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

/// What came of one attempt to accept.
#[derive(Debug)]
pub enum Accepted<L: Listener> {
    /// A connection.
    Connection(L::Stream, L::Address),
    /// A connection for which there is no descriptor outside of the reserve: to be closed at once.
    Refused(L::Stream, L::Address, Shortage),
    /// Nothing: the attempt failed, and that says nothing about the next one.
    Nothing,
}

/// Takes connections from a listening socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: &'static str,
    share: Share,
    failures: Throttle<()>,
}

impl Acceptor {
    /// For the listener that the log calls `listener`, which may take `share` of the descriptors.
    #[must_use]
    pub fn new(listener: &'static str, share: Share) -> Self {
        Self { listener, share, failures: throttle::log_lines() }
    }

    /// The next connection. When descriptors run out `make_room` is called to close some of this listener's own
    /// connections; it says whose they were, if there were any.
    ///
    /// # Errors
    /// When the socket is good for nothing any more.
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
                // A moment, rather than spin.
                tokio::time::sleep(made_room.map_or(PATIENCE, |_| Duration::from_millis(1))).await;
                Ok(Accepted::Nothing)
            }
        }
    }

    /// The same connection under a descriptor that this listener may have, once there is one. Meanwhile one of the
    /// reserve is in use, and no other connection is accepted.
    async fn renumber<L: Listener>(&self, stream: &L::Stream) -> Option<L::Stream> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
            // The lowest free one.
            let Ok(descriptor) = rustix::io::fcntl_dupfd_cloexec(stream.as_fd(), 0) else { continue };
            if self.share.shortage(descriptor.as_fd()).is_none() {
                return L::stream(descriptor).ok();
            }
        }
        None
    }

    fn log<L: Listener>(&self, socket: &L, made_room: Option<Network>, why: &dyn std::fmt::Display) {
        let Some(suppressed) = self.failures.pass((), Instant::now()) else { return };
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

/// Out of descriptors, of this process or of all, or of memory.
fn is_exhausted(error: &io::Error) -> bool {
    const EXHAUSTED: [i32; 4] = [23, 24, 12, 105]; // ENFILE, EMFILE, ENOMEM, ENOBUFS
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}
