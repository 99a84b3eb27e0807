//! The claims of a presented certificate, for records.
//!
//! A rejected peer chose every word of them: texts are cut, and nothing of them is proven.

use std::time::SystemTime;

use avouch_spiffe::x509::CertificateInfo;
use avouch_spiffe::{PeerIdentity, SpiffeId};
use serde::Serialize;

/// The most characters of a subject.
const LONGEST_SUBJECT: usize = 256;

/// The most hex digits of a serial number or a key identifier: 20 octets are what RFC 5280 allows.
const LONGEST_HEX: usize = 64;

/// The claims of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Presented {
    /// The SPIFFE ID that it claims, if it claims exactly one.
    pub spiffe_id: Option<SpiffeId>,
    /// Lower-case hex.
    pub serial: String,
    /// The distinguished name (RFC 4514), cut at 256 characters; often empty.
    pub subject: String,
    /// The first second of validity.
    pub not_before: SystemTime,
    /// The last second of validity.
    pub not_after: SystemTime,
    /// Key identifier of the authority that signed, lower-case hex: of an admitted peer the one whose key verified the
    /// certificate, else the one that the certificate claims.
    pub authority_key_id: Option<String>,
}

impl Presented {
    /// Reads a certificate; none if it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let info = CertificateInfo::parse(der).ok()?;
        let spiffe_id = match info.uris.as_slice() {
            [only] => only.parse().ok(),
            _ => None,
        };
        Some(Self {
            spiffe_id,
            serial: cut(&info.serial, LONGEST_HEX),
            subject: cut(&info.subject, LONGEST_SUBJECT),
            not_before: info.not_before,
            not_after: info.not_after,
            authority_key_id: info.authority_key_id.map(|id| cut(&id, LONGEST_HEX)),
        })
    }
}

impl From<&PeerIdentity> for Presented {
    fn from(peer: &PeerIdentity) -> Self {
        Self {
            spiffe_id: Some(peer.spiffe_id().clone()),
            serial: peer.serial().to_owned(),
            subject: cut(peer.subject(), LONGEST_SUBJECT),
            not_before: peer.not_before(),
            not_after: peer.not_after(),
            authority_key_id: peer.issuer_key_id().or(peer.authority_key_id()).map(|id| cut(id, LONGEST_HEX)),
        }
    }
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äöü…");
        assert_eq!(Presented::read(b"no certificate"), None);
    }
}
