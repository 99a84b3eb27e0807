//! The server's side of a handshake: verifies the peer, and makes sure that a rejected one hears why.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use avouch_spiffe::{PeerIdentity, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::shared::Shared;
use crate::identity::Snapshot;
use crate::negotiated_tls::NegotiatedTls;
use crate::tls;
use crate::verify::{ConnectionVerifier, Rejection, Trust};

/// A connection whose peer was verified.
pub(super) struct Established {
    /// Boxed: a session takes a kilobyte or two, and the futures it moves through would each keep room for it.
    pub(super) stream: Box<TlsStream<TcpStream>>,
    pub(super) peer: Option<Arc<PeerIdentity>>,
    pub(super) http1: bool,
    /// The end of the SVID that this connection was made with.
    pub(super) own_not_after: std::time::SystemTime,
    pub(super) own_not_before: std::time::SystemTime,
    /// The generation of the snapshot by which the peer was judged.
    pub(super) judged_by: u64,
    /// The generation with which the SVID came that this connection was made with.
    pub(super) svid_since: u64,
}

/// A rejected handshake; the socket is still open where an alert may be on its way.
pub(super) struct Rejected {
    pub(super) rejection: Rejection,
    pub(super) tcp: Option<TcpStream>,
    /// The TLS version, where it was agreed on.
    pub(super) tls_version: Option<&'static str>,
    /// The parameters agreed on, where the handshake came to its end.
    pub(super) tls: Option<Box<NegotiatedTls>>,
}

impl Rejected {
    /// Rejects a peer whose handshake is over.
    pub(super) fn after_handshake(rejection: Rejection, stream: &TlsStream<TcpStream>) -> Self {
        let tls = NegotiatedTls::of(stream.get_ref().1);
        Self { rejection, tcp: None, tls_version: Some(tls.version), tls: Some(Box::new(tls)) }
    }
}

impl From<Rejection> for Rejected {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, tcp: None, tls_version: None, tls: None }
    }
}

/// Performs the handshake within the listener's limits.
pub(super) async fn perform(shared: &Shared, tcp: TcpStream) -> Result<Established, Rejected> {
    match tokio::time::timeout(shared.options.handshake_timeout, attempt(shared, tcp)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => {
            let detail = format!("no complete handshake within {:?}", shared.options.handshake_timeout);
            Err(Rejection::new(Reason::HandshakeTimeout, detail).into())
        }
    }
}

async fn attempt(shared: &Shared, tcp: TcpStream) -> Result<Established, Rejected> {
    // Waits for the first bytes before it builds the TLS configuration: a silent peer costs only a socket.
    if let Err(error) = tcp.readable().await {
        return Err(gone(&error).into());
    }
    let snapshot = shared.identity.snapshot();
    let verifier = Arc::new(verifier(shared, &snapshot));
    let config = tls::server_config(&snapshot.svid, verifier.clone(), shared.serves.allows_http1())
        .map_err(|error| Rejection::new(Reason::NotReady, error.to_string()))?;
    let accept = TlsAcceptor::from(config).accept(tcp).into_fallible();
    let stream = match accept.await {
        Ok(stream) => stream,
        Err((error, tcp)) => {
            // If a certificate was judged, the version is TLS 1.3, the only one offered; cipher suite and group are lost with
            // the session.
            let tls_version = verifier.verdict().map(|_| "TLSv1_3");
            let rejection = explain(&verifier, &error);
            return Err(Rejected { rejection, tcp: Some(tcp), tls_version, tls: None });
        }
    };
    let peer = match verifier.verdict() {
        Some(Ok(peer)) => Some(peer.clone()),
        Some(Err(rejection)) => return Err(rejection.clone().into()),
        None if shared.optional_client_certificate => None,
        None => {
            return Err(Rejection::new(
                Reason::ClientCertMissing,
                "a client certificate is required, and none was presented",
            )
            .into());
        }
    };
    let http1 = match application_protocol(shared, &stream) {
        Ok(http1) => http1,
        Err(rejection) => {
            return Err(Rejected::after_handshake(rejection, &stream));
        }
    };
    Ok(Established {
        stream: Box::new(stream),
        peer,
        http1,
        own_not_after: snapshot.svid.not_after(),
        own_not_before: snapshot.svid.leaf().not_before(),
        judged_by: snapshot.generation,
        svid_since: snapshot.svid_since,
    })
}

/// The verifier of one connection, by the snapshot in use at its start.
fn verifier(shared: &Shared, snapshot: &Snapshot) -> ConnectionVerifier {
    ConnectionVerifier {
        trust: Trust::Store(snapshot.trust.clone()),
        own_domain: Some(snapshot.svid.spiffe_id().trust_domain().clone()),
        filter: shared.filter.clone(),
        limits: shared.options.chain,
        clock: shared.identity.clock().clone(),
        client_certificate_required: !shared.optional_client_certificate,
        verdict: OnceLock::new(),
    }
}

/// Whether HTTP/1.1 was chosen; a peer that negotiated nothing we speak is rejected.
fn application_protocol(shared: &Shared, stream: &TlsStream<TcpStream>) -> Result<bool, Rejection> {
    match stream.get_ref().1.alpn_protocol() {
        Some(tls::ALPN_H2) => Ok(false),
        Some(tls::ALPN_HTTP1) | None if shared.serves.allows_http1() => Ok(true),
        _ => Err(Rejection::new(Reason::NoApplicationProtocol, "the other side does not speak h2 (ALPN)")),
    }
}

fn explain(verifier: &ConnectionVerifier, error: &std::io::Error) -> Rejection {
    if let Some(Err(rejection)) = verifier.verdict() {
        return rejection.clone();
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => {
            let (reason, detail) = verifier.handshake_reason(error);
            Rejection::new(reason, detail)
        }
        None => gone(error),
    }
}

fn gone(error: &std::io::Error) -> Rejection {
    Rejection::new(Reason::PeerConnectionClosed, format!("during the handshake: {error}"))
}

/// Closes so that the alert arrives: closing a socket with unread bytes sends a reset, which destroys what was
/// sent before it. Half-close, then read on for a moment.
pub(super) async fn linger(mut tcp: TcpStream, timeout: Duration) {
    const DRAIN_LIMIT: usize = 64 * 1024;
    let drain = async {
        tcp.shutdown().await?;
        let mut scratch = [0_u8; 2048];
        let mut drained = 0;
        while drained < DRAIN_LIMIT {
            match tcp.read(&mut scratch).await? {
                0 => break,
                read => drained += read,
            }
        }
        std::io::Result::Ok(())
    };
    // Whatever happens now, the connection ends.
    let _ = tokio::time::timeout(timeout, drain).await;
}
