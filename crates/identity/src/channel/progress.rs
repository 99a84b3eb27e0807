//! The progress of one attempt to connect: which steps are done, when, and what was agreed on.
//!
//! The race between addresses asks it whether an attempt still advances, a failure at which step it happened, and
//! `avouch handshake` how long each step took.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use crate::negotiated_tls::NegotiatedTls;

/// A step of opening a connection, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// Name resolution: the addresses of the name.
    Resolve,
    /// The TCP connection.
    Connect,
    /// The TLS handshake, up to the server's certificate.
    ServerHello,
    /// The verification of the server.
    Verify,
    /// The server's verification of our certificate.
    ClientCertificate,
    /// The start of HTTP/2, up to the server's SETTINGS.
    Http2,
}

impl Step {
    /// The step's name, as `avouch handshake` shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::ServerHello => "server hello",
            Self::Verify => "verify",
            Self::ClientCertificate => "client certificate",
            Self::Http2 => "http/2",
        }
    }
}

/// The times at which the steps of one attempt were done.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    connected: OnceLock<Instant>,
    negotiated: OnceLock<(Instant, NegotiatedTls)>,
    answered: OnceLock<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let (connected, negotiated, answered) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { began: Instant::now(), connected, negotiated, answered }
    }

    /// TCP is up. Of each step only the first time counts.
    pub(super) fn connected(&self) {
        let _ = self.connected.set(Instant::now());
    }

    /// TLS is up on this side.
    pub(super) fn negotiated(&self, tls: NegotiatedTls) {
        let _ = self.negotiated.set((Instant::now(), tls));
    }

    /// The server's first frame has arrived, or its rejection.
    pub(super) fn answered(&self) {
        let _ = self.answered.set(Instant::now());
    }

    pub(super) fn is_negotiated(&self) -> bool {
        self.negotiated.get().is_some()
    }

    pub(super) fn tls(&self) -> Option<&NegotiatedTls> {
        self.negotiated.get().map(|(_, tls)| tls)
    }

    /// The time of the last step that was done.
    pub(super) fn latest(&self) -> Instant {
        let negotiated = self.negotiated.get().map(|(at, _)| *at);
        self.answered.get().copied().or(negotiated).or(self.connected.get().copied()).unwrap_or(self.began)
    }

    /// The durations of TCP, TLS and the wait for the first frame, as far as they were done.
    pub(super) fn took(&self) -> [Option<Duration>; 3] {
        let connected = self.connected.get().copied();
        let negotiated = self.negotiated.get().map(|(at, _)| *at);
        let answered = self.answered.get().copied();
        let between = |from: Option<Instant>, to: Option<Instant>| Some(to?.saturating_duration_since(from?));
        [between(Some(self.began), connected), between(connected, negotiated), between(negotiated, answered)]
    }

    /// The step at which an attempt has run out of time, and what it was waiting for.
    pub(super) fn awaited(&self) -> (Step, &'static str) {
        match (self.connected.get(), self.negotiated.get()) {
            (None, _) => (Step::Connect, "nothing answers there; a firewall, or the host is down"),
            (_, None) => (Step::ServerHello, "connected, and then not a word of TLS"),
            _ => (Step::Http2, "TLS is up, and no SETTINGS of HTTP/2 came"),
        }
    }
}
