//! The proof that a workload still holds the key of its expired SVID.
//!
//! What is signed ([`avouch_identity::recovery_message`]) covers the TLS channel, the issuer's nonce and the request, so
//! it serves once, here, for this request: neither a recording nor a man in the middle can use it.

use avouch_spiffe::x509::{KeyAlgorithm, Leaf};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};

/// Whether `proof` is the signature of the leaf's key over the message. A signature by a key of an algorithm that no
/// SVID is issued for never verifies.
pub(crate) fn holds(leaf: &Leaf, message: &[u8], proof: &[u8]) -> bool {
    let algorithm = match leaf.key_algorithm() {
        KeyAlgorithm::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
        KeyAlgorithm::EcdsaP384 => &ECDSA_P384_SHA384_ASN1,
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, leaf.spki_der()).verify(message, proof).is_ok()
}
