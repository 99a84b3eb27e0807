//! The reason of a handshake that failed outside of certificate verification, and its particulars.
//!
//! rustls says what its state machine ran into; the reader of a record wants to know what this side speaks and the other
//! side does not.

use avouch_spiffe::Reason;
use rustls::{Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use super::rustls_verifier::ConnectionVerifier;
use crate::crypto;

/// Reason and detail of a handshake that failed with `error`, whatever certificate was shown.
pub(crate) fn handshake_reason(error: &Error) -> (Reason, String) {
    let reason = reason(error);
    let detail = match reason {
        Reason::ClientCertMissing => "a client certificate is required, and none was presented".to_owned(),
        Reason::NotTls => format!("TLS is spoken here, and the first bytes are none ({error})"),
        Reason::ProtocolVersionUnsupported => {
            format!("TLS 1.3 is spoken here, and the other side does not offer it ({error})")
        }
        Reason::CipherSuiteMismatch => in_common(error),
        Reason::NoApplicationProtocol => "the other side does not speak h2 (ALPN)".to_owned(),
        Reason::CertSignatureInvalid => format!("the signature of the handshake does not verify ({error})"),
        _ => error.to_string(),
    };
    (reason, detail)
}

impl ConnectionVerifier {
    /// Reason and detail of a handshake that failed with `error` and without a verdict on a certificate.
    pub(crate) fn handshake_reason(&self, error: &Error) -> (Reason, String) {
        match handshake_reason(error) {
            (reason @ Reason::CertSignatureInvalid, detail) => {
                (reason, self.unproven(error).unwrap_or(detail))
            }
            explained => explained,
        }
    }

    /// The detail for a peer that showed a certificate and did not prove to hold its key.
    fn unproven(&self, error: &Error) -> Option<String> {
        let Some(Ok(peer)) = self.verdict() else { return None };
        Some(format!(
            "the signature of the handshake is not by the key of the certificate: it is that of {}, serial {}, and \
             whoever showed it did not prove to hold its key ({error})",
            peer.spiffe_id(),
            peer.serial()
        ))
    }
}

fn reason(error: &Error) -> Reason {
    use PeerIncompatible as P;
    match error {
        Error::NoCertificatesPresented => Reason::ClientCertMissing,
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => Reason::NotTls,
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge
            | InvalidMessage::CertificatePayloadTooLarge
            | InvalidMessage::MessageTooLarge,
        ) => Reason::CertTooLarge,
        Error::InvalidMessage(_) => Reason::CertMalformed,
        Error::PeerIncompatible(P::NoCipherSuitesInCommon | P::NoKxGroupsInCommon) => {
            Reason::CipherSuiteMismatch
        }
        Error::PeerIncompatible(_) => Reason::ProtocolVersionUnsupported,
        Error::NoApplicationProtocol => Reason::NoApplicationProtocol,
        Error::InvalidCertificate(rustls::CertificateError::BadSignature)
        | Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
            Reason::CertSignatureInvalid
        }
        Error::InvalidCertificate(_) => Reason::CertMalformed,
        Error::AlertReceived(_) => Reason::HandshakeRefused,
        _ => Reason::PeerConnectionClosed,
    }
}

/// The parameters that the other side would have had to offer.
fn in_common(error: &Error) -> String {
    let provider = crypto::crypto_provider();
    if matches!(error, Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)) {
        let groups: Vec<_> = provider.kx_groups.iter().map(|group| format!("{:?}", group.name())).collect();
        return format!("no key exchange group in common; spoken here: {}", groups.join(", "));
    }
    let suites = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some());
    let suites: Vec<_> = suites.map(|suite| crypto::cipher_name(Some(*suite))).collect();
    format!("no cipher suite in common; spoken here: {}", suites.join(", "))
}
