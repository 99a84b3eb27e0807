//! TLS settings of every connection: TLS 1.3 only, no resumption on either side, hybrid key exchange preferred.
//!
//! A resumed session would skip certificate verification, so the server sends no tickets and stores no sessions, and the
//! client keeps none.

use std::sync::{Arc, LazyLock};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use crate::crypto::crypto_provider;
use crate::svid::Svid;
use crate::verify::ConnectionVerifier;

/// HTTP/2 in ALPN.
pub(crate) const ALPN_H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The TLS versions that both ends speak.
static VERSIONS: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// Session tickets that a server sends per connection: none, since a resumed session would skip the verification.
const TICKETS: usize = 0;

/// The TLS parameters that every listener offers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsParameters {
    /// TLS versions, as in `TLSv1_3`.
    pub versions: Vec<&'static str>,
    /// Key-exchange groups in order of preference, as in `X25519MLKEM768`.
    pub groups: Vec<String>,
    /// Whether sessions are resumed.
    pub resumption: bool,
}

impl TlsParameters {
    pub(crate) fn ours() -> Self {
        Self {
            versions: VERSIONS.iter().filter_map(|supported| supported.version.as_str()).collect(),
            groups: crypto_provider().kx_groups.iter().map(|group| format!("{:?}", group.name())).collect(),
            resumption: TICKETS != 0,
        }
    }
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
    let presented = svid.map(|svid| Arc::new(Presented(svid.certified_key().clone())) as _);
    client_settings(verifier, presented, false)
}

/// Settings for one opened connection, with any verifier and client certificate. The host is named in the ClientHello
/// (SNI) if `name_host` is set; channels never set it.
pub(crate) fn client_settings(
    verifier: Arc<dyn ServerCertVerifier>,
    presented: Option<Arc<dyn ResolvesClientCert>>,
    name_host: bool,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = UNVERIFIED.clone()?;
    config.dangerous().set_certificate_verifier(verifier);
    if let Some(presented) = presented {
        config.client_auth_cert_resolver = presented;
    }
    config.enable_sni = name_host;
    Ok(Arc::new(config))
}

/// The settings that all opened connections have alike, with a verifier that trusts nobody. They are made once: rustls
/// makes a store for 256 sessions with every new `ClientConfig`, even if it is put aside at once.
static UNVERIFIED: LazyLock<Result<ClientConfig, rustls::Error>> = LazyLock::new(|| {
    let mut config = ClientConfig::builder_with_provider(crypto_provider().clone())
        .with_protocol_versions(&VERSIONS)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols.push(ALPN_H2.to_vec());
    Ok(config)
});

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

/// The alert that a failed read or handshake brought, if it was one.
pub(crate) fn alert_of(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use avouch_testkit::ca::{Ca, id};

    use super::*;

    #[test]
    fn what_opened_connections_have_alike_trusts_nobody_and_presents_nothing() {
        let client = UNVERIFIED.clone().unwrap();
        assert!(!client.client_auth_cert_resolver.has_certs());
        let (_publisher, identity) = Ca::new().identity("/server");
        let server = identity.server_tls(id("/client").into()).unwrap();
        let name = "server.example".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(server).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        let error = client.process_new_packets().unwrap_err();
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error:?}");
    }
}
