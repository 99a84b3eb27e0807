//! The rejection of a certificate: the reason, its particulars, and the TLS alert that tells the peer.

use std::fmt;
use std::sync::Arc;

use avouch_spiffe::{PeerIdentity, Reason};
use rustls::{CertificateError, OtherError};

use crate::record::Presented;

/// The most characters of a detail, which goes into records and log lines and may quote a stranger's certificate.
const LONGEST_DETAIL: usize = 1000;

/// A rejected certificate of a peer.
#[derive(Clone, Debug)]
pub struct Rejection {
    reason: Reason,
    detail: String,
    peer: Option<Box<PeerIdentity>>,
    presented: Option<Box<Presented>>,
}

impl Rejection {
    /// A detail is cut at [`LONGEST_DETAIL`]: it may quote names that a stranger chose.
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(LONGEST_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        Self { reason, detail, peer: None, presented: None }
    }

    pub(crate) fn with_peer(mut self, peer: PeerIdentity) -> Self {
        self.peer = Some(Box::new(peer));
        self
    }

    /// Adds the claims of the rejected certificate. One that was rejected for its size is not read.
    pub(crate) fn presenting(mut self, der: &[u8]) -> Self {
        if self.reason != Reason::CertTooLarge {
            self.presented = Presented::read(der).map(Box::new);
        }
        self
    }

    /// The word of the shared vocabulary.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The particulars: which certificate, expected and got, the clause.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The verified identity, where the certificate was good but not admitted.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_deref()
    }

    /// The claims of the rejected certificate, where it could be read; nothing of them is proven.
    pub fn presented(&self) -> Option<&Presented> {
        self.presented.as_deref()
    }

    /// The rustls error that makes rustls send the alert this situation calls for.
    pub(crate) fn to_rustls(&self) -> rustls::Error {
        rustls::Error::InvalidCertificate(match self.reason {
            Reason::CertExpired => CertificateError::Expired,
            Reason::CertNotYetValid => CertificateError::NotValidYet,
            Reason::CertUntrusted | Reason::ChainIncomplete => CertificateError::UnknownIssuer,
            Reason::CertRevoked | Reason::IdentityRevoked => CertificateError::Revoked,
            Reason::RevocationStateUnknown => CertificateError::UnknownRevocationStatus,
            Reason::CertPurposeInvalid => CertificateError::InvalidPurpose,
            Reason::CertMalformed => CertificateError::BadEncoding,
            Reason::CertSignatureInvalid | Reason::CertAlgorithmRefused => CertificateError::BadSignature,
            Reason::ServerIdentityMismatch => CertificateError::NotValidForName,
            Reason::CertChainTooDeep | Reason::CertTooLarge => {
                CertificateError::Other(OtherError(Arc::new(self.clone())))
            }
            _ => CertificateError::ApplicationVerificationFailure,
        })
    }
}

/// The name of a certificate by its place in what was presented: 0 for the leaf.
pub(super) fn position(at: usize) -> String {
    match at {
        0 => "leaf certificate".to_owned(),
        n => format!("intermediate certificate {n}"),
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_cut_and_no_character_with_it() {
        let long = "ä".repeat(LONGEST_DETAIL + 1);
        let rejection = Rejection::new(Reason::CertUntrusted, long.clone());
        assert_eq!(rejection.detail().chars().count(), LONGEST_DETAIL + 1);
        assert!(rejection.detail().ends_with("ä…"));
        let fits: String = long.chars().take(LONGEST_DETAIL).collect();
        assert_eq!(Rejection::new(Reason::CertUntrusted, fits.clone()).detail(), fits);
    }
}
