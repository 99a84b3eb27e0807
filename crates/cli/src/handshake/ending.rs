//! How a handshake ended: what works, or where it broke and in which word.

use super::Plan;
use super::tls::{Asked, Recorder};
use crate::target::Target;
use avouch_identity::handshake_failure;
use avouch_spiffe::Reason;
use avouch_spiffe::clock::{Clock, SystemClock};
use rustls::AlertDescription;
use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

/// What works.
#[derive(Debug)]
pub(crate) struct Ending(pub(crate) String);

/// Where it broke.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) step: &'static str,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    /// Our end and the server's: by them and the time the server's own record is found.
    pub(crate) connection: Option<(SocketAddr, SocketAddr)>,
    pub(crate) at: SystemTime,
}

impl Ending {
    pub(super) fn of(plan: &Plan, recorder: &Recorder, asked: Asked) -> Self {
        let server = match recorder.presented().and_then(|presented| presented.verdict.as_ref()) {
            Some(Ok(peer)) => format!("the server is {}", peer.spiffe_id()),
            _ => "nobody verified who the server is".to_owned(),
        };
        let client = match (asked, &plan.identity) {
            (Asked::Presented, Some(own)) => format!("it took us as {}", own.svid.spiffe_id()),
            (Asked::No, _) => "it asks no client who it is".to_owned(),
            _ => "it takes clients without a certificate".to_owned(),
        };
        Self(format!("{server}, {client}, and HTTP/2 is up"))
    }
}

impl Broken {
    pub(super) fn new(step: &'static str, reason: Reason, detail: String) -> Self {
        Self { step, reason, detail, connection: None, at: SystemClock.now() }
    }

    /// What finds the server's record, as a channel of ours says it too.
    pub(super) fn command(&self) -> Option<String> {
        let (local, _) = self.connection?;
        let seconds = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Some(format!("avouch explain {local} --at {seconds}"))
    }

    pub(super) fn between(mut self, local: Option<SocketAddr>, remote: Option<SocketAddr>) -> Self {
        self.connection = local.zip(remote);
        self
    }

    pub(super) fn unresolved(target: &Target, error: &io::Error) -> Self {
        Self::new("resolve", Reason::PeerConnectionClosed, format!("{} has no address: {error}", target.host))
    }

    /// In the words a channel uses when it cannot connect.
    pub(super) fn unconnected(target: &Target, error: &io::Error) -> Self {
        let (reason, detail) = match error.kind() {
            io::ErrorKind::TimedOut => (
                Reason::HandshakeTimeout,
                format!("nothing answers at {target}; a firewall, or the host is down"),
            ),
            io::ErrorKind::ConnectionRefused => {
                (Reason::PeerConnectionClosed, format!("nobody listens on {target}: {error}"))
            }
            _ => (Reason::PeerConnectionClosed, format!("cannot connect to {target}: {error}")),
        };
        Self::new("connect", reason, detail)
    }

    /// A handshake that failed: our own verdict on the server, else what its alert says, else what rustls says.
    pub(super) fn handshake(plan: &Plan, recorder: &Recorder, error: &io::Error) -> Self {
        if let Some(Err(rejection)) = recorder.presented().and_then(|presented| presented.verdict.as_ref()) {
            return Self::new("verify", rejection.reason(), rejection.detail().to_owned());
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => {
                let step = if recorder.presented().is_some() { "client certificate" } else { "server hello" };
                Self { step, ..Self::refused(plan, recorder.client_certificate(), *alert) }
            }
            Some(error) => {
                let (reason, detail) = handshake_failure(error);
                Self::new("server hello", reason, detail)
            }
            None if error.kind() == io::ErrorKind::TimedOut => {
                let detail = "connected, and then not a word of TLS".to_owned();
                Self::new("server hello", Reason::HandshakeTimeout, detail)
            }
            None => {
                let detail = format!("the server hung up during the handshake: {error}");
                Self::new("server hello", Reason::PeerConnectionClosed, detail)
            }
        }
    }

    /// The server refused us. Alerts are coarse; what we know ourselves completes them.
    pub(super) fn refused(plan: &Plan, asked: Asked, alert: AlertDescription) -> Self {
        let own_end = plan.identity.as_ref().map(|own| own.svid.not_after());
        let expired = own_end.is_some_and(|end| end < SystemClock.now());
        let (step, reason, detail) = match alert {
            AlertDescription::CertificateRequired if asked != Asked::Presented => {
                ("client certificate", Reason::ClientCertMissing, "the server requires a client certificate")
            }
            AlertDescription::CertificateExpired if expired => (
                "client certificate",
                Reason::CertExpired,
                "the server refused our certificate: it has expired",
            ),
            AlertDescription::CertificateRevoked => (
                "client certificate",
                Reason::CertRevoked,
                "the server refused our certificate: it is revoked",
            ),
            AlertDescription::ProtocolVersion => (
                "server hello",
                Reason::ProtocolVersionUnsupported,
                "the server does not speak TLS 1.3, and we speak nothing older",
            ),
            AlertDescription::NoApplicationProtocol => (
                "server hello",
                Reason::NoApplicationProtocol,
                "the server does not speak h2, which gRPC needs",
            ),
            _ if asked == Asked::Presented => (
                "client certificate",
                Reason::HandshakeRefused,
                "the server refused our certificate, and its record says why",
            ),
            _ => (
                "server hello",
                Reason::HandshakeRefused,
                "the server refused the handshake, and its record says why",
            ),
        };
        Self::new(step, reason, format!("{detail} (alert {alert:?})"))
    }

    pub(super) fn closed(asked: Asked, error: &str) -> Self {
        let detail = match asked {
            Asked::No => format!("the server hung up after the handshake: {error}"),
            _ => format!(
                "the server hung up after the handshake, as some do that refuse a client certificate: {error}"
            ),
        };
        Self::new("http/2", Reason::PeerConnectionClosed, detail)
    }
}
