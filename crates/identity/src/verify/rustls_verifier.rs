//! The rustls verifiers: one per connection (ADR 2), so that the verdict is kept whole for the connection's record.
//!
//! rustls passes on only what fits an alert. Each connection gets its own small verifier, which judges by the
//! snapshot current at its start and keeps the peer's identity (computed once) or the full rejection.

use std::sync::{Arc, OnceLock};

use avouch_spiffe::{PeerIdentity, TrustDomain};
use avouch_time::clock::SharedClock;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, Error};

use super::chain_verifier::{ChainLimits, ChainVerifier};
use super::rejection::Rejection;
use super::webpki_input::Role;
use crate::filter::IdentityFilter;
use crate::trust::TrustStore;

/// The methods that both verifier traits of rustls ask for in the same words: signatures of TLS 1.3 handshakes by the
/// algorithms of the one provider, and none of TLS 1.2, which is never offered.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &rustls::pki_types::CertificateDer<'_>,
            _dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = $crate::crypto::signature_algorithms();
            rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            $crate::crypto::signature_algorithms().supported_schemes()
        }
    };
}
pub(crate) use tls13_signatures;

/// The trust anchors of one connection.
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
                // Pins are compared with every certificate that was presented, so these are bounded here already.
                self.limits.check(leaf, intermediates)?;
                pinned = super::pinned::trust_store(pins, intermediates, self.own_domain.as_ref())?;
                &pinned
            }
        };
        let verifier = ChainVerifier {
            trust,
            own_domain: self.own_domain.as_ref(),
            filter: &self.filter,
            limits: &self.limits,
        };
        verifier.verify(leaf, intermediates, role, now)
    }
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

    tls13_signatures!();
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

    tls13_signatures!();
}

#[cfg(test)]
mod tests {
    use avouch_spiffe::Reason;

    use super::*;

    #[test]
    fn whoever_is_known_by_pins_is_held_to_the_limits_before_anything_is_parsed() {
        let verifier = ConnectionVerifier {
            trust: Trust::Pins(Arc::new([[7; 32]])),
            own_domain: Some("market.example".parse().unwrap()),
            filter: IdentityFilter::any_trusted(),
            limits: ChainLimits::default(),
            clock: avouch_time::clock::system(),
            client_certificate_required: false,
            verdict: OnceLock::new(),
        };
        let junk = |size| CertificateDer::from(vec![0x30; size]);
        let rejected = |intermediates: &[CertificateDer<'_>]| {
            verifier.verify(&junk(10), intermediates, Role::Server).unwrap_err().reason()
        };
        let limits = ChainLimits::default();
        assert_eq!(rejected(&vec![junk(10); limits.max_depth]), Reason::CertChainTooDeep);
        assert_eq!(rejected(&[junk(limits.max_certificate_bytes + 1)]), Reason::CertTooLarge);
        assert_eq!(rejected(&[junk(10)]), Reason::CertUntrusted, "no certificate has a pinned fingerprint");
    }
}
