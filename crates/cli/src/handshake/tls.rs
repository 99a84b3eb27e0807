//! One TLS handshake that remembers what it saw.
//!
//! Offers what a channel offers: TLS 1.3, no resumption, h2. Judges the server as a channel does if there are roots to
//! judge by, and refuses it as one; without roots it takes any chain and says so, and presents nothing to such a server.

use crate::roots::Roots;
use avouch_identity::{IdentityFilter, Rejection, crypto_provider};
use avouch_spiffe::clock::{Clock, SystemClock};
use avouch_spiffe::{PeerIdentity, SpiffeId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::{Arc, OnceLock};

/// HTTP/2 in ALPN.
pub(crate) const ALPN_H2: &[u8] = b"h2";

/// How to meet the server.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// By what it is judged; `None`: not at all.
    pub(crate) roots: Option<Roots>,
    /// Who it must be.
    pub(crate) expect: Option<SpiffeId>,
    /// What it is shown if it asks.
    pub(crate) certified: Option<Arc<CertifiedKey>>,
    /// Whether to name the host: a channel never does, strangers on the web need it.
    pub(crate) name_host: bool,
}

/// What the server presented, and what was thought of it.
#[derive(Debug)]
pub(crate) struct Presented {
    /// Leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// `None`: there was nothing to judge by.
    pub(crate) verdict: Option<Result<PeerIdentity, Rejection>>,
}

/// Judges the server of one connection, and keeps what it presented.
#[derive(Debug)]
pub(crate) struct Recorder {
    manner: Manner,
    presented: OnceLock<Presented>,
    asked: OnceLock<bool>,
}

impl Recorder {
    pub(crate) fn new(manner: Manner) -> Arc<Self> {
        Arc::new(Self { manner, presented: OnceLock::new(), asked: OnceLock::new() })
    }

    /// What the server presented; nothing before it did.
    pub(crate) fn presented(&self) -> Option<&Presented> {
        self.presented.get()
    }

    /// Whether the server asked for a client certificate, and whether one was presented.
    pub(crate) fn client_certificate(&self) -> Asked {
        match self.asked.get() {
            None => Asked::No,
            Some(false) => Asked::Nothing,
            Some(true) => Asked::Presented,
        }
    }

    /// The settings of the handshake.
    pub(crate) fn config(self: &Arc<Self>) -> Result<Arc<ClientConfig>, Error> {
        let mut config = ClientConfig::builder_with_provider(crypto_provider().clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_client_cert_resolver(self.clone());
        config.resumption = Resumption::disabled();
        config.enable_sni = self.manner.name_host;
        config.alpn_protocols.push(ALPN_H2.to_vec());
        Ok(Arc::new(config))
    }

    fn judge(&self, chain: &[CertificateDer<'_>]) -> Option<Result<PeerIdentity, Rejection>> {
        let leaf = chain.first()?;
        let roots = self.manner.roots.as_ref().filter(|roots| roots.judge(leaf))?;
        let store = roots.store_for(leaf);
        let filter = match &self.manner.expect {
            Some(expected) => expected.clone().into(),
            None => IdentityFilter::any_trusted(),
        };
        Some(store.verify_server(chain, &filter, SystemClock.now()))
    }
}

/// What became of the client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The server did not ask.
    No,
    /// It asked, and was shown none.
    Nothing,
    /// It asked, and was shown one.
    Presented,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        let verdict = self.judge(&chain);
        let outcome = match &verdict {
            Some(Err(rejection)) => Err(rejection.alert()),
            _ => Ok(ServerCertVerified::assertion()),
        };
        let chain = chain.iter().map(|der| der.to_vec()).collect();
        let kept = self.presented.set(Presented { chain, verdict });
        kept.map_err(|_| Error::General("certificate presented twice".to_owned()))?;
        outcome
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &crypto_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(&self, _root_hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // To a server that is not judged nothing is presented: who this is, is none of its business. One that is judged
        // and refused sees nothing either: it is asked for here, and sent after the server's certificate was judged.
        let certified = self.manner.certified.clone().filter(|_| self.manner.roots.is_some());
        let chosen = certified.filter(|certified| certified.key.choose_scheme(schemes).is_some());
        // Asked once per handshake.
        let _ = self.asked.set(chosen.is_some());
        chosen
    }

    fn has_certs(&self) -> bool {
        true
    }
}
