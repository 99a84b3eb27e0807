//! TLS settings of every connection: TLS 1.3 only, no resumption either way, hybrid key exchange preferred.
//!
//! A resumed session would skip certificate verification, so there is nothing to resume: the server sends no
//! tickets and stores no sessions, the client keeps none.

use std::sync::{Arc, OnceLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use crate::svid::Svid;
use crate::verify::ConnectionVerifier;

/// HTTP/2 in ALPN.
pub(crate) const ALPN_H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// What both ends speak.
static VERSIONS: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// Session tickets per connection.
const TICKETS: usize = 0;

/// What every listener offers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOffer {
    /// TLS versions, as in `TLSv1_3`.
    pub versions: Vec<&'static str>,
    /// Key-exchange groups in order of preference, as in `X25519MLKEM768`.
    pub groups: Vec<String>,
    /// Whether sessions are resumed.
    pub resumption: bool,
}

impl TlsOffer {
    pub(crate) fn ours() -> Self {
        Self {
            versions: VERSIONS.iter().filter_map(|supported| supported.version.as_str()).collect(),
            groups: crypto_provider().kx_groups.iter().map(|group| format!("{:?}", group.name())).collect(),
            resumption: TICKETS != 0,
        }
    }
}

/// The cryptography everything here uses: aws-lc-rs with X25519MLKEM768 first.
pub fn crypto_provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// Settings for one accepted connection.
pub(crate) fn server_config(
    svid: &Svid,
    verifier: Arc<ConnectionVerifier>,
    http1: bool,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(crypto_provider().clone())
        .with_protocol_versions(&VERSIONS)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Presented(svid.certified_key().clone())));
    config.send_tls13_tickets = TICKETS;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols.push(ALPN_H2.to_vec());
    if http1 {
        config.alpn_protocols.push(ALPN_HTTP1.to_vec());
    }
    Ok(Arc::new(config))
}

/// Settings for one opened connection; `svid` is presented if the server asks.
pub(crate) fn client_config(
    svid: Option<&Svid>,
    verifier: Arc<ConnectionVerifier>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(crypto_provider().clone())
        .with_protocol_versions(&VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match svid {
        Some(svid) => builder.with_client_cert_resolver(Arc::new(Presented(svid.certified_key().clone()))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    config.alpn_protocols.push(ALPN_H2.to_vec());
    Ok(Arc::new(config))
}

/// The SVID of the snapshot a connection started with.
#[derive(Debug)]
struct Presented(Arc<CertifiedKey>);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _root_hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The IANA name of a negotiated cipher suite.
pub(crate) fn cipher_name(suite: Option<rustls::SupportedCipherSuite>) -> String {
    let name = suite.and_then(|suite| suite.suite().as_str().map(str::to_owned));
    name.unwrap_or_else(|| "unknown".to_owned())
}

/// The name of a negotiated key-exchange group.
pub(crate) fn group_name(group: Option<&'static dyn rustls::crypto::SupportedKxGroup>) -> String {
    group.map_or_else(|| "unknown".to_owned(), |group| format!("{:?}", group.name()))
}
