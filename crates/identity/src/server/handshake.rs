//! The server's side of a handshake: verify the peer, and make sure a refused one hears why.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use avouch_spiffe::{PeerIdentity, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Shared;
use crate::tls;
use crate::verify::{ConnectionVerifier, Rejection, Trust};

/// A connection whose peer was verified.
pub(super) struct Established {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) peer: Option<Arc<PeerIdentity>>,
    pub(super) http1: bool,
    /// When the SVID this connection was made with expires.
    pub(super) own_not_after: std::time::SystemTime,
    pub(super) own_not_before: std::time::SystemTime,
}

/// A refused handshake; the socket is still open where an alert may be on its way.
pub(super) struct Refused {
    pub(super) rejection: Rejection,
    pub(super) tcp: Option<TcpStream>,
    /// What had been agreed on before.
    pub(super) tls: Option<Box<Agreed>>,
}

/// What a handshake agreed on, as far as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreed {
    pub(super) version: Option<&'static str>,
    pub(super) cipher: Option<String>,
    pub(super) group: Option<String>,
}

impl Agreed {
    pub(super) fn of(stream: &TlsStream<TcpStream>) -> Self {
        let session = stream.get_ref().1;
        Self {
            version: session.protocol_version().and_then(|version| version.as_str()),
            cipher: Some(tls::cipher_name(session.negotiated_cipher_suite())),
            group: Some(tls::group_name(session.negotiated_key_exchange_group())),
        }
    }

    /// A peer whose certificate was judged had agreed on the one version there is; the rest is lost with the session.
    fn by_verdict(verifier: &ConnectionVerifier) -> Option<Self> {
        verifier.verdict().map(|_| Self { version: Some("TLSv1_3"), ..Self::default() })
    }
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, tcp: None, tls: None }
    }
}

/// Performs the handshake within the listener's limits.
pub(super) async fn perform(shared: &Shared, tcp: TcpStream) -> Result<Established, Refused> {
    match tokio::time::timeout(shared.options.handshake_timeout, attempt(shared, tcp)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => {
            let detail = format!("no complete handshake within {:?}", shared.options.handshake_timeout);
            Err(Rejection::new(Reason::HandshakeTimeout, detail).into())
        }
    }
}

async fn attempt(shared: &Shared, tcp: TcpStream) -> Result<Established, Refused> {
    // Nothing is made for a peer that says nothing.
    if let Err(error) = tcp.readable().await {
        return Err(gone(&error).into());
    }
    let snapshot = shared.identity.snapshot();
    let verifier = Arc::new(ConnectionVerifier {
        trust: Trust::Store(snapshot.trust.clone()),
        own_domain: Some(snapshot.svid.spiffe_id().trust_domain().clone()),
        filter: shared.filter.clone(),
        limits: shared.options.chain,
        clock: shared.identity.clock().clone(),
        client_certificate_required: !shared.optional_client_certificate,
        algorithms: tls::crypto_provider().signature_verification_algorithms,
        verdict: OnceLock::new(),
    });
    let config = tls::server_config(&snapshot.svid, verifier.clone(), shared.serves.allows_http1())
        .map_err(|error| Rejection::new(Reason::NotReady, error.to_string()))?;
    let accept = TlsAcceptor::from(config).accept(tcp).into_fallible();
    let stream = match accept.await {
        Ok(stream) => stream,
        Err((error, tcp)) => {
            let tls = Agreed::by_verdict(&verifier);
            return Err(Refused {
                rejection: explain(&verifier, &error),
                tcp: Some(tcp),
                tls: tls.map(Box::new),
            });
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
            return Err(Refused { rejection, tcp: None, tls: Some(Box::new(Agreed::of(&stream))) });
        }
    };
    Ok(Established {
        stream,
        peer,
        http1,
        own_not_after: snapshot.svid.not_after(),
        own_not_before: snapshot.svid.leaf().not_before(),
    })
}

/// Whether HTTP/1.1 was chosen; a peer that negotiated nothing we speak is refused.
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
pub(super) async fn linger(mut tcp: TcpStream, patience: Duration) {
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
    let _ = tokio::time::timeout(patience, drain).await;
}
