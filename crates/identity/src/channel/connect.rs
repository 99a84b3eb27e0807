//! Opening a connection: TCP, TLS, and proof that the server took us.
//!
//! In TLS 1.3 a client finishes its handshake before the server has judged its certificate, so an ordinary client
//! reports success and fails at its first call. Here a connection counts as open only after the server's first
//! bytes of HTTP/2 have arrived; a refusal arrives as the alert it was sent as.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use avouch_spiffe::clock::SharedClock;
use avouch_spiffe::{PeerIdentity, Reason, TrustDomain};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::addresses;
use super::circumstances::{Circumstances, alert};
use super::failure::ConnectFailure;
use super::link::{Keepalive, Link};
use super::rewind::Rewind;
use crate::filter::IdentityFilter;
use crate::issuer_clock::ClockDifference;
use crate::server::retirement_margin;
use crate::svid::Svid;
use crate::tls;
use crate::verify::{ChainLimits, ConnectionVerifier, Trust};

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
    /// How far that clock is from the issuer's, where it was measured.
    pub(crate) difference: Option<ClockDifference>,
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
    pub(crate) circumstances: Arc<Circumstances>,
}

impl Dial<'_> {
    /// Opens the connection within the timeout.
    pub(crate) async fn connect(&self) -> Result<Connected, ConnectFailure> {
        let attempt = Arc::new(self.circumstances());
        match tokio::time::timeout(self.timeout, self.attempt(&attempt)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let detail = format!("no accepted connection within {:?}", self.timeout);
                Err(attempt.failure(Reason::HandshakeTimeout, detail))
            }
        }
    }

    fn circumstances(&self) -> Circumstances {
        let bundle = match (&self.trust, &self.own_domain) {
            (Trust::Store(store), Some(domain)) => store.bundles().get(domain),
            _ => None,
        };
        // A bundle that is not numbered, as one from a file, has no number to compare.
        let sequence = bundle.map(|bundle| bundle.sequence()).filter(|sequence| *sequence > 0);
        let target = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        Circumstances::new(
            target,
            self.filter.only(),
            self.svid,
            sequence,
            self.clock.clone(),
            self.difference,
        )
    }

    async fn attempt(&self, attempt: &Arc<Circumstances>) -> Result<Connected, ConnectFailure> {
        let tcp = addresses::connect(self.host, self.port).await.map_err(|error| {
            attempt.failure(Reason::PeerConnectionClosed, format!("cannot connect: {error}"))
        })?;
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        attempt.connected((tcp.local_addr().ok(), tcp.peer_addr().ok()));
        let verifier = Arc::new(self.verifier());
        let config = tls::client_config(self.svid, verifier.clone())
            .map_err(|error| attempt.failure(Reason::NotReady, error.to_string()))?;
        let stream = TlsConnector::from(config)
            .connect(self.server_name(), tcp)
            .await
            .map_err(|error| explain(attempt, &verifier, &error))?;
        let peer = match verifier.verdict() {
            Some(Ok(peer)) => peer.clone(),
            _ => {
                let detail = format!("the server presented no certificate; expected {}", self.filter);
                return Err(attempt.failure(Reason::ServerIdentityMismatch, detail).found());
            }
        };
        if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN_H2) {
            let detail = "the server did not agree on h2";
            return Err(attempt.failure(Reason::NoApplicationProtocol, detail).found());
        }
        let io = first_bytes(attempt, stream).await?;
        Ok(self.connected(attempt, io, peer))
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

    fn connected(
        &self,
        attempt: &Arc<Circumstances>,
        io: Rewind<TlsStream<TcpStream>>,
        peer: Arc<PeerIdentity>,
    ) -> Connected {
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
            circumstances: attempt.clone(),
            peer,
            io,
        }
    }
}

/// Waits for the first bytes of a server that has taken us.
async fn first_bytes(
    attempt: &Arc<Circumstances>,
    mut stream: TlsStream<TcpStream>,
) -> Result<Rewind<TlsStream<TcpStream>>, ConnectFailure> {
    let mut first = bytes::BytesMut::with_capacity(256);
    if let Ok(outcome) = tokio::time::timeout(SILENCE, stream.read_buf(&mut first)).await {
        attempt.hear(outcome.as_ref().copied());
    }
    match attempt.never_taken() {
        Some(failure) => Err(failure),
        None => Ok(Rewind::new(first.freeze(), stream, attempt.clone())),
    }
}

/// What a failed handshake means: our own verdict on the server, else what its alert says, completed by what we know
/// ourselves.
fn explain(attempt: &Arc<Circumstances>, verifier: &ConnectionVerifier, error: &io::Error) -> ConnectFailure {
    if let Some(Err(rejection)) = verifier.verdict() {
        let detail = format!("the server's certificate was refused: {}", rejection.detail());
        return attempt.failure(rejection.reason(), detail).found();
    }
    if let Some(alert) = alert(error) {
        return attempt.refused(alert);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => {
            let (reason, detail) = verifier.handshake_reason(error);
            attempt.failure(reason, detail).found()
        }
        None => {
            let detail = format!("the connection broke during the handshake: {error}");
            attempt.failure(Reason::PeerConnectionClosed, detail)
        }
    }
}

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
        let attempt = connected.circumstances.clone();
        Link::start(connected, keepalive).await.map_err(|error| {
            let detail = format!("HTTP/2 did not start: {error}");
            attempt.never_taken().unwrap_or_else(|| attempt.failure(Reason::PeerConnectionClosed, detail))
        })
    }
}
