//! One record per connection attempt, rejected ones included: the peer, its address, what TLS negotiated, and the
//! reason of a rejection.
//!
//! Records carry no certificate bodies and no secrets.

mod extensions;
mod id;
mod presented;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use avouch_limits::{Network, RateLimiter, log_lines};
use avouch_spiffe::{Reason, SpiffeId};
use serde::Serialize;

pub use extensions::ConnectionExtensions;
pub use id::{ConnectionId, UnknownConnectionId};
pub use presented::Presented;

/// The parameters of an established connection; in the extensions of each of its requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The connection's id.
    pub id: ConnectionId,
    /// The address of the peer.
    pub peer_addr: SocketAddr,
    /// The local address.
    pub local_addr: SocketAddr,
    /// Negotiated TLS version, as in `TLSv1_3`.
    pub tls_version: &'static str,
    /// Negotiated cipher suite.
    pub cipher: String,
    /// Negotiated key-exchange group, as in `X25519MLKEM768`.
    pub group: String,
    /// Keying material exported for channel binding, where the server was asked to.
    pub exporter: Option<[u8; 32]>,
    /// The values that others keep with the connection, such as the counters of its calls.
    pub extensions: ConnectionExtensions,
}

/// The network that a request comes from, by the extensions of the request.
pub fn network_of(extensions: &http::Extensions) -> Option<Network> {
    extensions.get::<Arc<ConnectionInfo>>().map(|info| info.peer_addr.ip().into())
}

/// Whether a connection attempt succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The handshake completed and the peer was admitted.
    Accepted,
    /// The connection was rejected.
    Refused,
}

/// One connection attempt.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ConnectionRecord {
    /// The connection's id.
    pub id: ConnectionId,
    /// The time at which the attempt was judged.
    pub at: SystemTime,
    /// The address of the peer.
    pub peer_addr: SocketAddr,
    /// The local address.
    pub local_addr: Option<SocketAddr>,
    /// The verified identity of the other end.
    pub peer_id: Option<SpiffeId>,
    /// Serial of the other end's certificate, lower-case hex.
    pub peer_serial: Option<String>,
    /// The claims of the peer's certificate, as far as it could be read; of a rejected one nothing is proven.
    pub presented: Option<Presented>,
    /// Whether the connection was accepted.
    pub verdict: Verdict,
    /// The reason of a rejection.
    pub reason: Option<Reason>,
    /// The particulars of the reason.
    pub detail: Option<String>,
    /// Negotiated TLS version.
    pub tls_version: Option<&'static str>,
    /// Negotiated cipher suite.
    pub cipher: Option<String>,
    /// Negotiated key-exchange group.
    pub group: Option<String>,
    /// The time from accept to verdict.
    pub handshake: Duration,
    /// Sequence number of the own trust domain's bundle in use; 0 if there is none.
    pub bundle_sequence: u64,
}

/// The end of an accepted connection that the server closed before its time: for what the peer did, to make room for
/// others, or because a certificate had ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionEnd {
    /// The connection's id.
    pub id: ConnectionId,
    /// The address of the peer.
    pub peer_addr: SocketAddr,
    /// The verified identity of the other end.
    pub peer_id: Option<SpiffeId>,
    /// The reason.
    pub reason: Reason,
    /// The particulars of the reason.
    pub detail: String,
}

/// The end of any accepted connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionClosed {
    /// The connection's id.
    pub id: ConnectionId,
    /// The time at which it was closed.
    pub at: SystemTime,
    /// The reason and its particulars, where the server closed it before its time.
    pub cause: Option<(Reason, String)>,
}

/// A request that was answered before any service saw it, for it broke a rule of HTTP or of gRPC.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestRefused<'a> {
    /// The connection's id.
    pub id: ConnectionId,
    /// The address of the peer.
    pub peer_addr: SocketAddr,
    /// The verified identity of the other end.
    pub peer_id: Option<&'a SpiffeId>,
    /// The HTTP status of the answer: 400, 405 or 415.
    pub status: u16,
    /// The rule, in words. Nothing of the request is in it.
    pub detail: &'static str,
}

/// A call that was denied its share of the listener, before any service saw it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallRefused<'a> {
    /// The connection's id.
    pub id: ConnectionId,
    /// The address of the peer.
    pub peer_addr: SocketAddr,
    /// The verified identity of the other end.
    pub peer_id: Option<&'a SpiffeId>,
    /// The reason.
    pub reason: Reason,
    /// The particulars: how much of the resource there is, and how much of it the caller holds.
    pub detail: &'a str,
}

/// Receives the record of every connection attempt. Called on the connection's task: must not block.
pub trait ConnectionObserver: Send + Sync + fmt::Debug {
    /// A connection was accepted or rejected.
    fn connection(&self, record: &ConnectionRecord);

    /// A connection that had been accepted was closed before its time.
    fn ended(&self, _end: &ConnectionEnd) {}

    /// A request was answered before any service saw it. It is not a call, so there is no decision and no record of it.
    fn request_refused(&self, _refused: &RequestRefused<'_>) {}

    /// A call was denied its share of the listener. There is no decision and no record of it.
    fn call_refused(&self, _refused: &CallRefused<'_>) {}

    /// An accepted connection has closed, whichever side closed it.
    fn closed(&self, _closed: &ConnectionClosed) {}
}

/// Writes rejected attempts, refused requests and connections closed early to the log as warnings, accepted ones at
/// debug level.
///
/// Lines are rate-limited by network and reason; the next line written says how many were `suppressed` before it.
#[derive(Debug)]
pub struct LogObserver {
    lines: RateLimiter<(Network, Option<Reason>)>,
}

impl Default for LogObserver {
    fn default() -> Self {
        Self { lines: log_lines() }
    }
}

impl LogObserver {
    fn may_write(&self, peer: SocketAddr, reason: Option<Reason>) -> Option<u64> {
        self.lines.check((peer.ip().into(), reason), Instant::now()).ok()
    }
}

impl ConnectionObserver for LogObserver {
    fn connection(&self, record: &ConnectionRecord) {
        match record.verdict {
            Verdict::Accepted => tracing::debug!(
                connection_id = %record.id,
                peer_addr = %record.peer_addr,
                peer = record.peer_id.as_ref().map(SpiffeId::as_str),
                serial = record.peer_serial,
                tls_version = record.tls_version,
                cipher = record.cipher,
                group = record.group,
                "connection accepted"
            ),
            Verdict::Refused => {
                let Some(suppressed) = self.may_write(record.peer_addr, record.reason) else { return };
                tracing::warn!(
                    connection_id = %record.id,
                    peer_addr = %record.peer_addr,
                    local_addr = record.local_addr.map(tracing::field::display),
                    peer = record.peer_id.as_ref().map(SpiffeId::as_str),
                    serial = record.peer_serial,
                    reason = record.reason.map(|reason| reason.as_str()),
                    detail = record.detail,
                    suppressed = (suppressed > 0).then_some(suppressed),
                    "connection refused"
                );
            }
        }
    }

    fn ended(&self, end: &ConnectionEnd) {
        let Some(suppressed) = self.may_write(end.peer_addr, Some(end.reason)) else { return };
        tracing::warn!(
            connection_id = %end.id,
            peer_addr = %end.peer_addr,
            peer = end.peer_id.as_ref().map(SpiffeId::as_str),
            reason = end.reason.as_str(),
            detail = end.detail,
            suppressed = (suppressed > 0).then_some(suppressed),
            "connection closed"
        );
    }

    fn call_refused(&self, refused: &CallRefused<'_>) {
        let Some(suppressed) = self.may_write(refused.peer_addr, Some(refused.reason)) else { return };
        tracing::warn!(
            connection_id = %refused.id,
            peer_addr = %refused.peer_addr,
            peer = refused.peer_id.map(SpiffeId::as_str),
            reason = refused.reason.as_str(),
            detail = refused.detail,
            suppressed = (suppressed > 0).then_some(suppressed),
            "call refused"
        );
    }

    fn request_refused(&self, refused: &RequestRefused<'_>) {
        // Without a reason: a request that breaks a rule of HTTP is answered with an HTTP status instead.
        let Some(suppressed) = self.may_write(refused.peer_addr, None) else { return };
        tracing::warn!(
            connection_id = %refused.id,
            peer_addr = %refused.peer_addr,
            peer = refused.peer_id.map(SpiffeId::as_str),
            status = refused.status,
            detail = refused.detail,
            suppressed = (suppressed > 0).then_some(suppressed),
            "request refused"
        );
    }
}

#[cfg(test)]
mod tests {
    use avouch_limits::Rate;
    use avouch_testkit::log::Log;

    use super::*;

    fn refused(peer: &str, reason: Reason) -> ConnectionRecord {
        ConnectionRecord {
            id: ConnectionId::next(),
            at: SystemTime::UNIX_EPOCH,
            peer_addr: peer.parse().unwrap(),
            local_addr: None,
            peer_id: None,
            peer_serial: None,
            presented: None,
            verdict: Verdict::Refused,
            reason: Some(reason),
            detail: None,
            tls_version: None,
            cipher: None,
            group: None,
            handshake: Duration::ZERO,
            bundle_sequence: 0,
        }
    }

    #[test]
    fn a_flood_is_a_few_lines_the_next_of_which_says_how_many_were_not_written_and_hides_nobody() {
        let (log, _guard) = Log::of_thread();
        let every = Duration::from_millis(200);
        let observer = LogObserver { lines: RateLimiter::new(Rate { burst: 2, every }, 10) };
        for _ in 0..500 {
            observer.connection(&refused("192.0.2.1:1", Reason::CertUntrusted));
        }
        observer.connection(&refused("192.0.2.2:1", Reason::CertUntrusted));
        observer.connection(&refused("192.0.2.1:1", Reason::CertExpired));
        std::thread::sleep(every * 2);
        observer.connection(&refused("192.0.2.1:2", Reason::CertUntrusted));
        let text = log.text();
        let of = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert!(of("192.0.2.1:1") < 20, "{text}");
        assert_eq!((of("192.0.2.2:1"), of("CERT_EXPIRED")), (1, 1), "{text}");
        let told: u64 = text
            .lines()
            .filter_map(|line| line.split_once("suppressed=")?.1.split(' ').next()?.parse::<u64>().ok())
            .sum();
        assert_eq!(told + of("CERT_UNTRUSTED") as u64, 502, "{text}");
    }
}
