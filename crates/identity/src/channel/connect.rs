//! Opening a connection: TCP, TLS, and proof that the server took us.
//!
//! In TLS 1.3 a client finishes its handshake before the server has judged its certificate, so an ordinary client
//! reports success and fails at its first call. Here a connection counts as open only after the server's first
//! bytes of HTTP/2 have arrived; a refusal arrives as the alert it was sent as.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use avouch_spiffe::clock::SharedClock;
use avouch_spiffe::{PeerIdentity, Reason, TrustDomain};
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::addresses;
use super::link::{Keepalive, Link};
use super::rewind::Rewind;
use crate::filter::IdentityFilter;
use crate::server::retirement_margin;
use crate::svid::Svid;
use crate::tls;
use crate::verify::{ChainLimits, ConnectionVerifier, Trust, handshake_reason};

/// How long a server may keep silent after the handshake before we take its silence for consent: some wait for
/// the client's preface first.
const SILENCE: Duration = Duration::from_millis(500);

/// Keeping a margin to the server's own retirement: clients go first.
const CLIENT_MARGIN: f64 = 1.5;

/// Everything one connection attempt needs.
pub(crate) struct Dial<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) svid: Option<&'a Svid>,
    pub(crate) trust: Trust,
    pub(crate) own_domain: Option<TrustDomain>,
    pub(crate) filter: IdentityFilter,
    pub(crate) limits: ChainLimits,
    pub(crate) clock: SharedClock,
    pub(crate) timeout: Duration,
    pub(crate) binding: Option<&'static str>,
}

/// A connection the server has accepted.
pub(crate) struct Connected {
    pub(crate) io: Rewind<TlsStream<TcpStream>>,
    pub(crate) peer: Arc<PeerIdentity>,
    pub(crate) tls_version: &'static str,
    pub(crate) group: String,
    pub(crate) exporter: Option<[u8; 32]>,
    /// How long to use it before opening another.
    pub(crate) use_for: Duration,
}

/// Why a connection could not be opened.
#[derive(Clone, Debug)]
pub(crate) struct ConnectFailure {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    target: String,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    alert: Option<String>,
    at: SystemTime,
}

impl ConnectFailure {
    /// A connection that was open and gone in the same moment.
    pub(super) fn said_goodbye(target: String, at: SystemTime) -> Self {
        let detail = "the server closed the connection as soon as it was open: it is stopping, or its certificate \
                      or ours is about to end";
        let (reason, detail) = (Reason::ConnectionRetiring, detail.to_owned());
        Self { reason, detail, target, local: None, remote: None, alert: None, at }
    }

    /// Whether trying again, unchanged, can help.
    pub(crate) fn is_retryable(&self) -> bool {
        self.reason.retryable()
    }

    /// The status a caller sees: the reason, and the correlator by which the server's record is found.
    pub(crate) fn to_status(&self) -> tonic::Status {
        let shown = |address: Option<SocketAddr>| address.map(|a| a.to_string()).unwrap_or_default();
        let seconds = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let message = match self.local {
            Some(local) => {
                format!("{}: {} [connection to {} from {local}]", self.reason, self.detail, self.target)
            }
            None => format!("{}: {} [connection to {}]", self.reason, self.detail, self.target),
        };
        crate::status::status(
            self.reason,
            message,
            [
                ("target", self.target.clone()),
                ("client_address", shown(self.local)),
                ("server_address", shown(self.remote)),
                ("alert", self.alert.clone().unwrap_or_default()),
                ("unix_time", seconds.to_string()),
            ],
        )
    }
}

impl Dial<'_> {
    /// Opens the connection within the timeout.
    pub(crate) async fn connect(&self) -> Result<Connected, ConnectFailure> {
        match tokio::time::timeout(self.timeout, self.attempt()).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let detail = format!("no accepted connection within {:?}", self.timeout);
                Err(self.failure(Reason::HandshakeTimeout, detail, None))
            }
        }
    }

    async fn attempt(&self) -> Result<Connected, ConnectFailure> {
        let tcp = addresses::connect(self.host, self.port).await.map_err(|error| {
            self.failure(Reason::PeerConnectionClosed, format!("cannot connect: {error}"), None)
        })?;
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let addresses = (tcp.local_addr().ok(), tcp.peer_addr().ok());
        let verifier = Arc::new(self.verifier());
        let config = tls::client_config(self.svid, verifier.clone())
            .map_err(|error| self.failure(Reason::NotReady, error.to_string(), Some(addresses)))?;
        let stream = TlsConnector::from(config)
            .connect(self.server_name(), tcp)
            .await
            .map_err(|error| self.explain(&verifier, &error, addresses))?;
        let peer = match verifier.verdict() {
            Some(Ok(peer)) => peer.clone(),
            _ => {
                let detail = "the server presented no certificate".to_owned();
                return Err(self.failure(Reason::ServerIdentityMismatch, detail, Some(addresses)));
            }
        };
        if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN_H2) {
            let detail = "the server did not agree on h2".to_owned();
            return Err(self.failure(Reason::NoApplicationProtocol, detail, Some(addresses)));
        }
        let io = self.first_bytes(stream, &verifier, addresses).await?;
        Ok(self.connected(io, peer))
    }

    fn verifier(&self) -> ConnectionVerifier {
        ConnectionVerifier {
            trust: self.trust.clone(),
            own_domain: self.own_domain.clone(),
            filter: self.filter.clone(),
            limits: self.limits,
            clock: self.clock.clone(),
            client_certificate_required: false,
            algorithms: tls::crypto_provider().signature_verification_algorithms,
            verdict: OnceLock::new(),
        }
    }

    /// For the TLS server name indication only: identities, not names, are verified.
    fn server_name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.to_owned())
            .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
    }

    async fn first_bytes(
        &self,
        mut stream: TlsStream<TcpStream>,
        verifier: &ConnectionVerifier,
        addresses: Addresses,
    ) -> Result<Rewind<TlsStream<TcpStream>>, ConnectFailure> {
        let mut first = bytes::BytesMut::with_capacity(256);
        match tokio::time::timeout(SILENCE, stream.read_buf(&mut first)).await {
            Ok(Ok(0)) => {
                let detail = "the server closed the connection after the handshake".to_owned();
                Err(self.failure(Reason::PeerConnectionClosed, detail, Some(addresses)))
            }
            Ok(Ok(_)) | Err(_) => Ok(Rewind::new(first.freeze(), stream)),
            Ok(Err(error)) => Err(self.explain(verifier, &error, addresses)),
        }
    }

    fn connected(&self, io: Rewind<TlsStream<TcpStream>>, peer: Arc<PeerIdentity>) -> Connected {
        let session = io.get_ref().get_ref().1;
        let exporter = self
            .binding
            .and_then(|label| session.export_keying_material([0_u8; 32], label.as_bytes(), None).ok());
        let now = self.clock.now();
        let peer_end = use_for(peer.not_before(), peer.not_after(), now);
        let own_end =
            self.svid.map_or(peer_end, |svid| use_for(svid.leaf().not_before(), svid.not_after(), now));
        Connected {
            tls_version: session.protocol_version().and_then(|version| version.as_str()).unwrap_or("unknown"),
            group: tls::group_name(session.negotiated_key_exchange_group()),
            exporter,
            use_for: peer_end.min(own_end),
            peer,
            io,
        }
    }

    /// What a failed handshake means: our own verdict on the server, else what its alert says, completed by what
    /// we know ourselves.
    fn explain(
        &self,
        verifier: &ConnectionVerifier,
        error: &io::Error,
        addresses: Addresses,
    ) -> ConnectFailure {
        if let Some(Err(rejection)) = verifier.verdict() {
            let detail = format!("the server's certificate was refused: {}", rejection.detail());
            return self.failure(rejection.reason(), detail, Some(addresses));
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => self.refused(*alert, addresses),
            Some(error) => {
                let (reason, detail) = handshake_reason(error);
                self.failure(reason, detail, Some(addresses))
            }
            None => {
                let detail = format!("the connection broke during the handshake: {error}");
                self.failure(Reason::PeerConnectionClosed, detail, Some(addresses))
            }
        }
    }

    fn refused(&self, alert: AlertDescription, addresses: Addresses) -> ConnectFailure {
        let own_expiry = self.svid.map(|svid| svid.not_after());
        let expired = own_expiry.is_some_and(|not_after| not_after < self.clock.now());
        let (reason, detail) = match alert {
            AlertDescription::CertificateRequired if self.svid.is_none() => {
                (Reason::ClientCertMissing, "the server requires a client certificate, none was presented")
            }
            AlertDescription::CertificateExpired if expired => {
                (Reason::CertExpired, "the server refused our SVID, which has expired")
            }
            AlertDescription::CertificateRevoked => {
                (Reason::CertRevoked, "the server refused our SVID, which is revoked")
            }
            AlertDescription::ProtocolVersion => {
                (Reason::ProtocolVersionUnsupported, "the server does not speak TLS 1.3")
            }
            AlertDescription::NoApplicationProtocol => {
                (Reason::NoApplicationProtocol, "the server does not speak h2")
            }
            _ => (
                Reason::HandshakeRefused,
                "the server refused the handshake; its connection record for this address and time says why",
            ),
        };
        let mut failure = self.failure(reason, format!("{detail} (alert {alert:?})"), Some(addresses));
        failure.alert = Some(format!("{alert:?}"));
        failure
    }

    fn failure(&self, reason: Reason, detail: String, addresses: Option<Addresses>) -> ConnectFailure {
        let (local, remote) = addresses.unwrap_or_default();
        ConnectFailure {
            reason,
            detail,
            target: format!("{}:{}", self.host, self.port),
            local,
            remote,
            alert: None,
            at: self.clock.now(),
        }
    }
}

type Addresses = (Option<SocketAddr>, Option<SocketAddr>);

/// How long to use a connection made with a certificate: until a margin before its end, and near the end half of
/// what is left, so that nobody reconnects in circles.
fn use_for(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> Duration {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let left = not_after.duration_since(now).unwrap_or_default();
    left.saturating_sub(retirement_margin(life).mul_f64(CLIENT_MARGIN)).max(left / 2)
}

impl Dial<'_> {
    /// Opens the connection and starts HTTP/2 on it.
    pub(crate) async fn link(&self, keepalive: Keepalive) -> Result<Link, ConnectFailure> {
        let connected = self.connect().await?;
        Link::start(connected, keepalive).await.map_err(|error| {
            self.failure(Reason::PeerConnectionClosed, format!("HTTP/2 did not start: {error}"), None)
        })
    }
}
