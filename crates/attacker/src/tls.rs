//! A TLS 1.3 client that shows any certificate and accepts any server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::Error;
use crate::forge::Credentials;

/// The longest that one attempt may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The ALPN name of HTTP/2.
pub const H2: &[u8] = b"h2";

/// The way a connection is made.
#[derive(Debug, Clone, Copy)]
pub struct Approach<'a> {
    /// What is shown; nothing when there is nothing.
    pub credentials: Option<&'a Credentials>,
    /// What is offered in ALPN.
    pub alpn: &'a [&'a [u8]],
    /// From which address.
    pub from: Option<IpAddr>,
}

impl<'a> Approach<'a> {
    /// With these credentials, as a gRPC client.
    #[must_use]
    pub fn showing(credentials: Option<&'a Credentials>) -> Self {
        Self { credentials, alpn: &[H2], from: None }
    }
}

/// A connection that got through the client's part of the handshake. In TLS 1.3 the server may still refuse it.
pub type Connection = TlsStream<TcpStream>;

/// A socket, connected from a given address.
///
/// # Errors
/// What the system says.
pub async fn socket(target: SocketAddr, from: Option<IpAddr>) -> Result<TcpStream, std::io::Error> {
    let Some(from) = from else { return TcpStream::connect(target).await };
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(target).await
}

/// The settings of a client that approaches like this. They keep sessions, and would resume one if they were let.
///
/// # Errors
/// When the key is of no use.
pub fn config(approach: Approach<'_>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BelieveAnybody(provider)));
    let mut config = match approach.credentials {
        Some(shown) => builder.with_client_cert_resolver(Arc::new(Shown::new(shown)?)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = approach.alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Performs the handshake on a connected socket.
///
/// # Errors
/// What ended the handshake, or that the attack can't be made.
pub async fn handshake(tcp: TcpStream, approach: Approach<'_>) -> Result<Connection, Error> {
    handshake_as(tcp, config(approach)?).await
}

/// The same with settings that were made before: for those who come again and again.
///
/// # Errors
/// What ended the handshake, or that the attack can't be made.
pub async fn handshake_as(tcp: TcpStream, config: Arc<ClientConfig>) -> Result<Connection, Error> {
    let connector = tokio_rustls::TlsConnector::from(config);
    let name = ServerName::try_from("server.invalid")?;
    Ok(tokio::time::timeout(PATIENCE, connector.connect(name, tcp)).await??)
}

/// Shows one chain with one key, without asking whether they belong together.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Arc<CertifiedKey>);

impl Shown {
    pub(crate) fn new(credentials: &Credentials) -> Result<Self, Error> {
        let key = aws_lc_rs::sign::any_supported_type(&credentials.key)?;
        Ok(Self(Arc::new(CertifiedKey::new(credentials.chain.clone(), key))))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _root_hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
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
