//! The rustls verifiers: one per connection, so that the verdict is kept whole for the connection's record.
//!
//! rustls passes on only what fits an alert. Each connection gets its own small verifier, which judges by the
//! snapshot current at its start and keeps the peer's identity (computed once) or the full rejection.

use std::sync::{Arc, OnceLock};

use avouch_spiffe::clock::SharedClock;
use avouch_spiffe::{PeerIdentity, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::path::{ChainLimits, Judge, Role};
use super::rejection::Rejection;
use crate::filter::IdentityFilter;
use crate::trust::TrustStore;

/// What the peer of one connection is verified against.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// Bundles by trust domain.
    Store(Arc<TrustStore>),
    /// First contact: the chain must end in a presented root with one of these SHA-256 fingerprints.
    Pins(Arc<[[u8; 32]]>),
}

/// Verifies the peer of one connection and keeps the verdict.
#[derive(Debug)]
pub(crate) struct ConnectionVerifier {
    pub(crate) trust: Trust,
    pub(crate) own_domain: Option<TrustDomain>,
    pub(crate) filter: IdentityFilter,
    pub(crate) limits: ChainLimits,
    pub(crate) clock: SharedClock,
    pub(crate) client_certificate_required: bool,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) verdict: OnceLock<Result<Arc<PeerIdentity>, Rejection>>,
}

impl ConnectionVerifier {
    /// The verdict, once the peer's certificate has been judged.
    pub(crate) fn verdict(&self) -> Option<&Result<Arc<PeerIdentity>, Rejection>> {
        self.verdict.get()
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
    ) -> Result<(), Error> {
        let verdict = self.verify(leaf, intermediates, role);
        let verdict = verdict.map(Arc::new).map_err(|rejection| rejection.presenting(leaf));
        let outcome = verdict.as_ref().map(|_| ()).map_err(Rejection::to_rustls);
        // A handshake presents its certificate once; a second verdict would not replace the first.
        self.verdict.set(verdict).map_err(|_| Error::General("certificate presented twice".to_owned()))?;
        outcome
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
    ) -> Result<PeerIdentity, Rejection> {
        let now = self.clock.now();
        let pinned;
        let trust = match &self.trust {
            Trust::Store(store) => store.as_ref(),
            Trust::Pins(pins) => {
                pinned = super::pinned::trust_store(pins, intermediates, self.own_domain.as_ref())?;
                &pinned
            }
        };
        let judge = Judge {
            trust,
            own_domain: self.own_domain.as_ref(),
            filter: &self.filter,
            limits: &self.limits,
            algorithms: self.algorithms.all,
        };
        judge.verify(leaf, intermediates, role, now)
    }

    fn check_tls13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }
}

fn tls12_is_off() -> Error {
    Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled)
}

impl ClientCertVerifier for ConnectionVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.client_certificate_required
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, Role::Client).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_is_off())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for ConnectionVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, Role::Server).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_is_off())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
