//! One unary gRPC call over a connection of its own, with whatever credentials, to whatever server answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::credentials::Credentials;

const PATIENCE: Duration = Duration::from_secs(10);

/// What a server said at the gRPC level.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) text: String,
    /// `google.rpc.Status`, encoded; empty if there was none.
    pub(crate) details: Vec<u8>,
    pub(crate) message: Vec<u8>,
}

/// What ended the connection below the gRPC level.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The TLS alert, if one arrived.
    pub(crate) alert: Option<String>,
    pub(crate) text: String,
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Refusal {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        // HTTP/2 passes on only the words of what ended its connection.
        let alert = text.split_once("received fatal alert: ").map(|(_, alert)| alert.to_owned());
        Self { alert, text }
    }
}

/// Calls over TLS 1.3, with a client certificate or without.
pub(crate) async fn call(
    target: &str,
    credentials: Option<&Credentials>,
    path: &str,
    message: Vec<u8>,
) -> Result<Answer, Refusal> {
    tokio::time::timeout(PATIENCE, async {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelieveAnybody(provider)));
        let mut config = match credentials {
            Some(shown) => config.with_client_auth_cert(shown.chain.clone(), shown.key.clone_key())?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connection = TcpStream::connect(target).await?;
        let name = ServerName::try_from("server.invalid")?;
        let connection = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, connection).await?;
        exchange(connection, "https", path, message).await
    })
    .await?
}

/// Calls without TLS.
pub(crate) async fn call_in_plaintext(target: &str, path: &str, message: Vec<u8>) -> Result<Answer, Refusal> {
    tokio::time::timeout(PATIENCE, async {
        exchange(TcpStream::connect(target).await?, "http", path, message).await
    })
    .await?
}

async fn exchange(
    connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    scheme: &str,
    path: &str,
    message: Vec<u8>,
) -> Result<Answer, Refusal> {
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(connection)).await?;
    let driver = tokio::spawn(driver);
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len())?.to_be_bytes());
    framed.extend(message);
    let request = http::Request::post(format!("{scheme}://server.invalid{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(framed)))?;
    let response = match sender.send_request(request).await {
        Ok(response) => response,
        // The connection's own end says more than the request's.
        Err(error) => match driver.await {
            Ok(Err(cause)) => return Err(cause.into()),
            _ => return Err(error.into()),
        },
    };
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let body = body.to_bytes();
    let field =
        |name: &str| trailers.get(name).or_else(|| head.headers.get(name)).map(|value| value.as_bytes());
    let text = |name: &str| String::from_utf8_lossy(field(name).unwrap_or_default()).into_owned();
    let status =
        text("grpc-status").parse().map_err(|_| format!("HTTP {} without grpc-status", head.status))?;
    let details = field("grpc-status-details-bin").unwrap_or_default();
    let details = base64::Engine::decode(&base64::engine::general_purpose::STANDARD_NO_PAD, trim(details))?;
    let message = body.get(5..).unwrap_or_default().to_vec();
    Ok(Answer { status, text: text("grpc-message"), details, message })
}

/// Without base64 padding.
fn trim(encoded: &[u8]) -> &[u8] {
    let end = encoded.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    encoded.get(..end).unwrap_or_default()
}

/// Accepts every server: an attacker does not care.
#[derive(Debug)]
struct BelieveAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for BelieveAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
