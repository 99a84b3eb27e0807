//! The verified identity of a peer, computed once when its handshake has succeeded.

use std::time::SystemTime;

use crate::id::SpiffeId;
use crate::x509::{self, Leaf};
use avouch_text::hex;

/// The identity of a verified peer: what authorization, records and handlers need of its certificate.
///
/// The value verifies nothing by itself; it is made from a [`Leaf`] by whoever has verified the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    spiffe_id: SpiffeId,
    serial: String,
    not_before: SystemTime,
    not_after: SystemTime,
    subject: String,
    issuer: String,
    authority_key_id: Option<String>,
    fingerprint: String,
    spki_sha256: String,
    issuer_key_id: Option<String>,
    upper_key_ids: Vec<String>,
    root_sha256: Option<[u8; 32]>,
}

impl PeerIdentity {
    /// The identity in a leaf and its DER.
    pub fn from_leaf(leaf: &Leaf, der: &[u8]) -> Self {
        Self {
            spiffe_id: leaf.spiffe_id().clone(),
            serial: leaf.serial().to_owned(),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            subject: leaf.subject().to_owned(),
            issuer: leaf.issuer().to_owned(),
            authority_key_id: leaf.authority_key_id().map(str::to_owned),
            fingerprint: hex::encode(&x509::sha256(der)),
            spki_sha256: hex::encode(&x509::sha256(leaf.spki_der())),
            issuer_key_id: None,
            upper_key_ids: Vec::new(),
            root_sha256: None,
        }
    }

    /// Notes the key identifier of the authority whose key the leaf's signature was verified with. The authority key
    /// identifier in the leaf itself is no proof, since no path validator compares it.
    #[must_use]
    pub fn signed_by(mut self, key_id: Option<String>) -> Self {
        self.issuer_key_id = key_id;
        self
    }

    /// Notes the authorities above the one that signed the leaf, which the verified path goes through: key identifiers of
    /// intermediate ones, lower-case hexadecimal, and the SHA-256 of the root.
    #[must_use]
    pub fn through(mut self, upper_key_ids: Vec<String>, root_sha256: [u8; 32]) -> Self {
        self.upper_key_ids = upper_key_ids;
        self.root_sha256 = Some(root_sha256);
        self
    }

    /// The peer's SPIFFE ID.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The certificate's serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The first second of the certificate's validity.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The last second of the certificate's validity.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The certificate's distinguished name (RFC 4514); most SVIDs have an empty one.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The key identifier of the authority that signed, lower-case hexadecimal, where the certificate names it.
    pub fn authority_key_id(&self) -> Option<&str> {
        self.authority_key_id.as_deref()
    }

    /// The distinguished name of the authority that signed (RFC 4514).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// SHA-256 of the DER `SubjectPublicKeyInfo`, lower-case hexadecimal: the same for every certificate of one key.
    pub fn spki_sha256(&self) -> &str {
        &self.spki_sha256
    }

    /// The subject key identifier of the certificate whose key verified the leaf's signature, lower-case hexadecimal;
    /// none if that certificate has none, or nobody has verified a path.
    pub fn issuer_key_id(&self) -> Option<&str> {
        self.issuer_key_id.as_deref()
    }

    /// The key identifiers of all authorities of the verified path but the root, from the one that signed the leaf; of a
    /// leaf that the root signed, the root's.
    pub fn authority_key_ids(&self) -> impl Iterator<Item = &str> {
        self.issuer_key_id.iter().chain(&self.upper_key_ids).map(String::as_str)
    }

    /// SHA-256 of the root in which the verified path ends; none if nobody has verified a path.
    pub fn root_sha256(&self) -> Option<&[u8; 32]> {
        self.root_sha256.as_ref()
    }
}
