//! Extensions of a certificate, right ones to begin with.

use super::Key;
use crate::der::{oid, sequence, tlv};

/// An extension.
#[derive(Debug, Clone)]
pub struct Extension {
    /// Its object identifier's encoded arcs.
    pub oid: Vec<u8>,
    /// Whether it is critical.
    pub critical: bool,
    /// Its value, DER.
    pub value: Vec<u8>,
}

/// `id-ce`: the last arc of an extension of RFC 5280.
pub mod ce {
    /// Subject key identifier.
    pub const SUBJECT_KEY: u8 = 14;
    /// Key usage.
    pub const KEY_USAGE: u8 = 15;
    /// Subject alternative name.
    pub const SAN: u8 = 17;
    /// Basic constraints.
    pub const BASIC_CONSTRAINTS: u8 = 19;
    /// Name constraints.
    pub const NAME_CONSTRAINTS: u8 = 30;
    /// Authority key identifier.
    pub const AUTHORITY_KEY: u8 = 35;
    /// Extended key usage.
    pub const EXTENDED_KEY_USAGE: u8 = 37;
}

/// Bits of a key usage, the first octet.
pub mod usage {
    /// digitalSignature.
    pub const DIGITAL_SIGNATURE: u8 = 0x80;
    /// keyAgreement.
    pub const KEY_AGREEMENT: u8 = 0x08;
    /// keyCertSign.
    pub const KEY_CERT_SIGN: u8 = 0x04;
    /// cRLSign.
    pub const CRL_SIGN: u8 = 0x02;
}

/// Purposes of an extended key usage: the last arc below `id-kp`.
pub mod purpose {
    /// serverAuth.
    pub const SERVER_AUTH: u8 = 1;
    /// clientAuth.
    pub const CLIENT_AUTH: u8 = 2;
    /// codeSigning.
    pub const CODE_SIGNING: u8 = 3;
}

impl Extension {
    /// An extension of RFC 5280.
    #[must_use]
    pub fn ce(last: u8, critical: bool, value: Vec<u8>) -> Self {
        Self { oid: vec![0x55, 0x1d, last], critical, value }
    }

    /// An extension with an unknown object identifier.
    #[must_use]
    pub fn unheard_of(critical: bool, size: usize) -> Self {
        Self { oid: vec![0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 7], critical, value: tlv(0x04, &vec![7; size]) }
    }

    /// A key usage.
    #[must_use]
    pub fn key_usage(octet: u8) -> Self {
        let unused = u8::try_from(octet.trailing_zeros().min(7)).unwrap_or(0);
        Self::ce(ce::KEY_USAGE, true, tlv(0x03, &[unused, octet]))
    }

    /// An extended key usage.
    #[must_use]
    pub fn purposes(purposes: &[u8]) -> Self {
        let oids: Vec<_> = purposes.iter().map(|last| oid(&[0x2b, 6, 1, 5, 5, 7, 3, *last])).collect();
        Self::ce(ce::EXTENDED_KEY_USAGE, false, sequence(&oids))
    }

    /// Basic constraints.
    #[must_use]
    pub fn constraints(ca: bool, path_length: Option<u8>) -> Self {
        let ca = if ca { tlv(0x01, &[0xff]) } else { Vec::new() };
        let path_length = path_length.map(|length| tlv(0x02, &[length])).unwrap_or_default();
        Self::ce(ce::BASIC_CONSTRAINTS, true, sequence(&[ca, path_length]))
    }

    /// Name constraints that permit URIs of one host only.
    #[must_use]
    pub fn permitted_uris(host: &str) -> Self {
        let permitted = tlv(0xa0, &sequence(&[tlv(0x86, host.as_bytes())]));
        Self::ce(ce::NAME_CONSTRAINTS, true, sequence(&[permitted]))
    }

    /// A subject alternative name of URIs.
    #[must_use]
    pub fn uris(uris: &[&str]) -> Self {
        let names: Vec<_> = uris.iter().map(|uri| tlv(0x86, uri.as_bytes())).collect();
        Self::ce(ce::SAN, true, sequence(&names))
    }

    /// A subject alternative name of one DNS name.
    #[must_use]
    pub fn dns(name: &str) -> Self {
        Self::ce(ce::SAN, true, sequence(&[tlv(0x82, name.as_bytes())]))
    }

    /// The subject key identifier of a key.
    #[must_use]
    pub fn subject_key(key: &Key) -> Self {
        Self::ce(ce::SUBJECT_KEY, false, tlv(0x04, &key.id()))
    }

    /// The authority key identifier of the key that signs.
    #[must_use]
    pub fn authority_key(key: &Key) -> Self {
        Self::ce(ce::AUTHORITY_KEY, false, sequence(&[tlv(0x80, &key.id())]))
    }

    pub(super) fn der(&self) -> Vec<u8> {
        let critical = if self.critical { tlv(0x01, &[0xff]) } else { Vec::new() };
        sequence(&[oid(&self.oid), critical, tlv(0x04, &self.value)])
    }
}
