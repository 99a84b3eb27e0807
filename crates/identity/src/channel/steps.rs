//! The steps to one address, from TCP to the first frame of HTTP/2: those of a channel, and of `avouch handshake`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use avouch_spiffe::{PeerIdentity, Reason};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::attempt::ConnectAttempt;
use super::failure::ConnectFailure;
use super::http2::{Http2, start_http2};
use super::prefixed_io::PrefixedIo;
use super::progress::Step;
use crate::negotiated_tls::NegotiatedTls;
use crate::tls;
use crate::verify::Rejection;

/// The time for which the server is waited for to speak first: some wait for the client's preface. Until then nothing is
/// written, since what is written to a server that hangs up can cost the alert it sent.
const SILENCE: Duration = Duration::from_millis(500);

/// The check of one connection's server, and the certificate that it is shown.
pub(super) trait ServerCheck: Send + Sync {
    /// The TLS settings, which keep the verdict.
    fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error>;

    /// The verdict on the server's certificate, once it was shown.
    fn verdict(&self) -> Option<Result<Arc<PeerIdentity>, Rejection>>;

    /// The expected server, in words; `None` if it may be anybody and need not prove it.
    fn expected(&self) -> Option<String>;

    /// The word for a handshake that failed outside of the verdict.
    fn handshake_reason(&self, error: &rustls::Error) -> (Reason, String);
}

/// The parameters of the steps to an address.
pub(super) struct ConnectParameters {
    pub(super) name: ServerName<'static>,
    pub(super) check: Box<dyn ServerCheck>,
    /// The label of the exported value that binds to the connection.
    pub(super) binding: Option<&'static str>,
}

/// A connection on which the server has sent its first frame of HTTP/2.
pub(super) struct Opened {
    pub(super) http2: Http2,
    /// The verified server. `None` only where [`ServerCheck::expected`] says that it may be anybody.
    pub(super) peer: Option<Arc<PeerIdentity>>,
    pub(super) exporter: Option<[u8; 32]>,
}

/// Takes the steps. There is no time limit here: the race and the examination have theirs.
pub(super) async fn open(
    attempt: &Arc<ConnectAttempt>,
    parameters: ConnectParameters,
) -> Result<Opened, ConnectFailure> {
    let ConnectParameters { name, check, binding } = parameters;
    let tcp = connect(attempt).await?;
    let config = check
        .config()
        .map_err(|error| attempt.failure(Step::ServerHello, Reason::NotReady, error.to_string()))?;
    let stream = TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .map_err(|error| explain(attempt, check.as_ref(), &error))?;
    let session = stream.get_ref().1;
    attempt.progress.negotiated(NegotiatedTls::of(session));
    let peer = match (check.verdict(), check.expected()) {
        (Some(Ok(peer)), _) => {
            attempt.verified(peer.clone());
            Some(peer)
        }
        (None, None) => None,
        (_, expected) => {
            let expected = expected.unwrap_or_default();
            let detail = format!("the server presented no certificate; expected {expected}");
            return Err(attempt.failure(Step::Verify, Reason::ServerIdentityMismatch, detail).found());
        }
    };
    if session.alpn_protocol() != Some(tls::ALPN_H2) {
        let detail = "the server did not agree on h2";
        return Err(attempt.failure(Step::ServerHello, Reason::NoApplicationProtocol, detail).found());
    }
    let exporter =
        binding.and_then(|label| session.export_keying_material([0_u8; 32], label.as_bytes(), None).ok());
    let http2 = first_frame(attempt, stream).await?;
    Ok(Opened { http2, peer, exporter })
}

async fn connect(attempt: &Arc<ConnectAttempt>) -> Result<TcpStream, ConnectFailure> {
    let Some(address) = attempt.tried else {
        let detail = "cannot connect: there is no address";
        return Err(attempt.failure(Step::Connect, Reason::PeerConnectionClosed, detail));
    };
    let tcp = TcpStream::connect(address).await.map_err(|error| {
        let (reason, detail) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                Reason::PeerConnectionClosed,
                format!("cannot connect: nobody listens on {address}: {error}"),
            ),
            io::ErrorKind::TimedOut => {
                (Reason::HandshakeTimeout, format!("cannot connect: nothing answers at {address}: {error}"))
            }
            _ => (Reason::PeerConnectionClosed, format!("cannot connect: {error}")),
        };
        attempt.failure(Step::Connect, reason, detail)
    })?;
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    attempt.connected((tcp.local_addr().ok(), tcp.peer_addr().ok()));
    Ok(tcp)
}

/// Starts HTTP/2 and waits for the first frame, with which the server shows that it accepted us.
async fn first_frame(
    attempt: &Arc<ConnectAttempt>,
    stream: TlsStream<TcpStream>,
) -> Result<Http2, ConnectFailure> {
    let mut io = PrefixedIo::new(stream, attempt.clone());
    // Past the silence the preface is written, and the wait goes on.
    let _ = tokio::time::timeout(SILENCE, io.read_ahead()).await;
    if let Some(failure) = attempt.never_taken() {
        return Err(failure);
    }
    let unstarted = |error: h2::Error| {
        let detail = format!("HTTP/2 did not start: {error}");
        let broken = || attempt.failure(Step::Http2, Reason::PeerConnectionClosed, detail);
        attempt.never_taken().unwrap_or_else(broken)
    };
    let mut http2 = start_http2(io).await.map_err(unstarted)?;
    if !attempt.has_heard() {
        tokio::select! {
            // What the server said goes before the end of the connection: it says why it ended.
            biased;
            () = attempt.heard() => {}
            // The connection ends only when the server closes it, or on an error; what the server said last says more
            // than the error.
            ended = &mut http2.connection => if let Err(error) = ended {
                return Err(unstarted(error));
            }
        }
    }
    match attempt.never_taken() {
        Some(failure) => Err(failure),
        None if attempt.has_heard() => Ok(http2),
        None => {
            let detail = "the server closed the connection before its first frame";
            Err(attempt.failure(Step::Http2, Reason::PeerConnectionClosed, detail))
        }
    }
}

/// The failure that a failed handshake means: our own verdict on the server, else what its alert says, completed by what
/// we know ourselves.
fn explain(attempt: &Arc<ConnectAttempt>, check: &dyn ServerCheck, error: &io::Error) -> ConnectFailure {
    if let Some(Err(rejection)) = check.verdict() {
        let detail = format!("the server's certificate was refused: {}", rejection.detail());
        return attempt.failure(Step::Verify, rejection.reason(), detail).found();
    }
    if let Some(alert) = tls::alert_of(error) {
        return attempt.refused(alert);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => {
            let (reason, detail) = check.handshake_reason(error);
            // The certificate was accepted, and the signature that proves possession of its key did not verify.
            let proof = reason == Reason::CertSignatureInvalid && check.verdict().is_some();
            let step = if proof { Step::Verify } else { Step::ServerHello };
            attempt.failure(step, reason, detail).found()
        }
        None => {
            let detail = format!("the connection broke during the handshake: {error}");
            attempt.failure(Step::ServerHello, Reason::PeerConnectionClosed, detail)
        }
    }
}
