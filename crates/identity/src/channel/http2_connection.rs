//! One HTTP/2 connection in use by a channel (ADR 1).
//!
//! h2 is used directly, not through hyper's client: only h2 says for certain that a request was never processed
//! (it could not be sent, its stream lies beyond GOAWAY's last one, or it was refused), and nothing is spawned per
//! unary call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use avouch_spiffe::Reason;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use tokio::sync::watch;

use super::attempt::ConnectAttempt;
use super::http2::{Http2, Io};
use super::lifetime::{Lifetime, Term};
use super::outgoing::{Outgoing, Pump};
use super::retirement::Retirement;
use super::revocation_watch::RevocationWatch;
use crate::clock_watch::ClockWatch;
use crate::connection_shutdown::Stage;
use crate::verify::Rejection;

/// A connection the server has accepted.
pub(crate) struct Connected {
    pub(super) http2: Http2,
    pub(super) exporter: Option<[u8; 32]>,
    pub(super) lifetime: Lifetime,
    pub(super) attempt: Arc<ConnectAttempt>,
}

/// An open connection; dropping it lets calls under way finish, then closes.
pub(crate) struct Http2Connection {
    pub(crate) serial: u64,
    pub(crate) exporter: Option<[u8; 32]>,
    pub(super) attempt: Arc<ConnectAttempt>,
    sender: SendRequest<Bytes>,
    closed: watch::Receiver<bool>,
    term: watch::Receiver<Term>,
}

impl Drop for Http2Connection {
    fn drop(&mut self) {
        self.attempt.shutdown.retire();
    }
}

impl Http2Connection {
    /// Takes an accepted connection into use.
    pub(crate) fn start(
        connected: Connected,
        keepalive: Keepalive,
        revocations: Option<RevocationWatch>,
    ) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let Connected { http2: Http2 { sender, connection }, exporter, lifetime, attempt } = connected;
        let (closed_sender, closed) = watch::channel(false);
        // Watched before the term is computed: the clock may jump before the driver first runs.
        let clock = ClockWatch::new(lifetime.clock().clone());
        let first = lifetime.term();
        let (term_sender, term) = watch::channel(first);
        let attempt_driven = attempt.clone();
        let driver =
            Driver { keepalive, clock, lifetime, term: term_sender, attempt: attempt_driven, revocations };
        tokio::spawn(async move {
            driver.drive(connection).await;
            // Last: by now the connection is closed, and every call on it has ended.
            closed_sender.send_replace(true);
        });
        tracing::debug!(
            peer = attempt.peer().map(|peer| tracing::field::display(peer.spiffe_id())),
            address = attempt.tried.map(tracing::field::display),
            tls_version = attempt.progress.tls().map(|tls| tls.version),
            group = attempt.progress.tls().map(|tls| tls.group.as_str()),
            use_for_ms = first.replace_at.saturating_duration_since(tokio::time::Instant::now()).as_millis(),
            "connection opened"
        );
        Self { serial: SERIAL.fetch_add(1, Ordering::Relaxed), exporter, attempt, sender, closed, term }
    }

    /// Sends a request. On an error nothing of it has left, and `outgoing` is as it was.
    pub(crate) fn send(&self, outgoing: &mut Outgoing) -> Result<(ResponseFuture, Option<Pump>), h2::Error> {
        let mut sender = self.sender.clone();
        let (response, stream) = sender.send_request(outgoing.head(), outgoing.is_bodiless())?;
        Ok((response, outgoing.send_body(stream)))
    }

    /// The term of the connection; shorter after a jump of the clock.
    pub(super) fn term(&self) -> watch::Receiver<Term> {
        self.term.clone()
    }

    /// The retirement of the connection, for a stream that wants to move on when no new call uses it.
    pub(super) fn retirement(&self) -> Retirement {
        Retirement::new(self.attempt.shutdown.clone())
    }

    /// Resolves when the connection has ended.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means that the driver has ended, and with it the connection.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

/// The interval of pings, and how long to wait for the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// The driver of a connection: everything that may end it.
struct Driver {
    keepalive: Keepalive,
    clock: ClockWatch,
    lifetime: Lifetime,
    term: watch::Sender<Term>,
    attempt: Arc<ConnectAttempt>,
    revocations: Option<RevocationWatch>,
}

impl Driver {
    /// Drives the connection until it ends by itself, by a lost ping, after its last call once it is let go, or with the
    /// first of its certificates.
    async fn drive(mut self, mut connection: h2::client::Connection<Io, Bytes>) {
        let mut pings = connection.ping_pong();
        let unanswered = unanswered(pings.as_mut(), self.keepalive);
        tokio::pin!(unanswered);
        let mut seen = Stage::Open;
        loop {
            let end_at = self.term.borrow().end_at;
            // The order does not matter: each arm but the jump and the retirement ends the connection, and none undoes
            // another.
            tokio::select! {
                result = &mut connection => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = &mut unanswered => {
                    tracing::info!("a peer stopped answering pings; its connection is closed");
                    return;
                }
                () = tokio::time::sleep_until(end_at) => return self.over(),
                rejection = revoked(&mut self.revocations, &self.attempt) => return self.revoked(&rejection),
                () = self.clock.jumped() => {
                    if self.lifetime.is_over() {
                        return self.over();
                    }
                    self.term.send_if_modified(|term| {
                        let before = std::mem::replace(term, self.lifetime.again(*term));
                        before != *term
                    });
                }
                // Dropping the last handle does not wake a parked h2 connection; going round polls it once more, and it
                // ends after the calls under way.
                stage = self.attempt.shutdown.beyond(seen) => match stage {
                    Stage::Ended | Stage::Cut => return,
                    further => seen = further,
                },
            }
        }
    }

    /// A certificate has ended: the calls under way are told, before the connection is dropped under them.
    fn over(&self) {
        let detail = self.lifetime.over();
        tracing::info!(
            target = self.attempt.ours.target.as_str(),
            detail,
            "a connection has outlived its certificates"
        );
        self.attempt.shutdown.end(Reason::CertExpired, detail);
    }

    /// The server has been revoked: the calls under way are told, before the connection is dropped under them.
    fn revoked(&self, rejection: &Rejection) {
        let (reason, detail) = (rejection.reason(), rejection.detail());
        tracing::info!(
            target = self.attempt.ours.target.as_str(),
            %reason,
            detail,
            "the server of a connection has been revoked"
        );
        self.attempt.shutdown.end(reason, detail);
    }
}

/// Resolves when the server has been revoked.
async fn revoked(revocations: &mut Option<RevocationWatch>, attempt: &ConnectAttempt) -> Rejection {
    match (revocations, attempt.peer()) {
        (Some(revocations), Some(peer)) => revocations.revoked(peer).await,
        _ => std::future::pending().await,
    }
}

/// Resolves when a ping is not answered in time.
async fn unanswered(pings: Option<&mut h2::PingPong>, keepalive: Keepalive) {
    let Some(pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(keepalive.interval).await;
        let pong = tokio::time::timeout(keepalive.timeout, pings.ping(h2::Ping::opaque()));
        if !matches!(pong.await, Ok(Ok(_))) {
            return;
        }
    }
}

/// Whether the peer certainly did not process the request this error belongs to (RFC 9113 §6.8, §8.7).
pub(crate) fn is_unprocessed(error: &h2::Error) -> bool {
    let beyond_goaway = error.is_go_away() && error.is_remote();
    let refused = error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    beyond_goaway || refused
}
