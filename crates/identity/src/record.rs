//! One record per connection attempt, failures included: who, from where, how, and why not.
//!
//! Records carry no certificate bodies and no secrets.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use avouch_spiffe::throttle::{self, Throttle};
use avouch_spiffe::{Network, Reason, SpiffeId};
use serde::Serialize;

/// Identifies a connection in records and errors: `conn-` and sixteen hex digits, unique within a process and,
/// by its random part, across restarts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        static EPOCH: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        let epoch = EPOCH.get_or_init(|| {
            let mut random = [0_u8; 8];
            // Without randomness ids are still unique within the process.
            let _ = aws_lc_rs::rand::fill(&mut random);
            u64::from_be_bytes(random) & 0xffff_ffff_0000_0000
        });
        Self(epoch | (NEXT.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn-{:016x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of an established connection; rides in the extensions of its requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The connection's id.
    pub id: ConnectionId,
    /// The other end.
    pub peer_addr: SocketAddr,
    /// Our end.
    pub local_addr: SocketAddr,
    /// Negotiated TLS version, as in `TLSv1_3`.
    pub tls_version: &'static str,
    /// Negotiated cipher suite.
    pub cipher: String,
    /// Negotiated key-exchange group, as in `X25519MLKEM768`.
    pub group: String,
    /// Keying material exported for channel binding, where the server was asked to.
    pub exporter: Option<[u8; 32]>,
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
    /// The connection was refused.
    Refused,
}

/// One connection attempt.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ConnectionRecord {
    /// The connection's id.
    pub id: ConnectionId,
    /// The other end.
    pub peer_addr: SocketAddr,
    /// Our end.
    pub local_addr: Option<SocketAddr>,
    /// The verified identity of the other end.
    pub peer_id: Option<SpiffeId>,
    /// Serial of the other end's certificate, lower-case hex.
    pub peer_serial: Option<String>,
    /// Outcome.
    pub verdict: Verdict,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// What in particular.
    pub detail: Option<String>,
    /// Negotiated TLS version.
    pub tls_version: Option<&'static str>,
    /// Negotiated cipher suite.
    pub cipher: Option<String>,
    /// Negotiated key-exchange group.
    pub group: Option<String>,
    /// From accept to verdict.
    pub handshake: Duration,
}

/// The end of an accepted connection that the server closed for what the peer did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionEnd {
    /// The connection's id.
    pub id: ConnectionId,
    /// The other end.
    pub peer_addr: SocketAddr,
    /// The verified identity of the other end.
    pub peer_id: Option<SpiffeId>,
    /// Why.
    pub reason: Reason,
    /// What in particular.
    pub detail: String,
}

/// Receives the record of every connection attempt. Called on the connection's task: must not block.
pub trait ConnectionObserver: Send + Sync + fmt::Debug {
    /// A connection was accepted or refused.
    fn connection(&self, record: &ConnectionRecord);

    /// A connection that had been accepted was closed for what the peer did.
    fn ended(&self, _end: &ConnectionEnd) {}
}

/// Writes refused attempts and connections closed early to the log as warnings, accepted ones at debug level.
///
/// Of the same network for the same reason only so many lines are written; the next one that is says how many were
/// `suppressed` before it.
#[derive(Debug)]
pub struct LogObserver {
    lines: Throttle<(Network, Option<Reason>)>,
}

impl Default for LogObserver {
    fn default() -> Self {
        Self { lines: throttle::log_lines() }
    }
}

impl LogObserver {
    fn may_write(&self, peer: SocketAddr, reason: Option<Reason>) -> Option<u64> {
        self.lines.pass((peer.ip().into(), reason), Instant::now())
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
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use avouch_spiffe::throttle::Rate;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn refused(peer: &str, reason: Reason) -> ConnectionRecord {
        ConnectionRecord {
            id: ConnectionId::next(),
            peer_addr: peer.parse().unwrap(),
            local_addr: None,
            peer_id: None,
            peer_serial: None,
            verdict: Verdict::Refused,
            reason: Some(reason),
            detail: None,
            tls_version: None,
            cipher: None,
            group: None,
            handshake: Duration::ZERO,
        }
    }

    #[test]
    fn a_flood_is_a_few_lines_the_next_of_which_says_how_many_were_not_written_and_hides_nobody() {
        let log = Captured::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let every = Duration::from_millis(200);
        let observer = LogObserver { lines: Throttle::new(Rate { burst: 2, every }, 10) };
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..500 {
                observer.connection(&refused("192.0.2.1:1", Reason::CertUntrusted));
            }
            observer.connection(&refused("192.0.2.2:1", Reason::CertUntrusted));
            observer.connection(&refused("192.0.2.1:1", Reason::CertExpired));
            std::thread::sleep(every * 2);
            observer.connection(&refused("192.0.2.1:2", Reason::CertUntrusted));
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
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
