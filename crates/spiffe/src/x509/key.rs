//! Public key algorithms: which are accepted, and how they are called.
//!
//! Accepted: ECDSA on P-256, P-384 and P-521, Ed25519, RSA of 2048 to 8192 bits. The upper bound is there because
//! verifying costs the verifier; the lower because smaller keys are broken.

use std::fmt::{self, Display};

use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The smallest RSA modulus accepted, in bits.
pub const MIN_RSA_BITS: u32 = 2048;
/// The largest RSA modulus accepted, in bits.
pub const MAX_RSA_BITS: u32 = 8192;

/// An accepted public key algorithm with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa {
        /// Bits of the modulus.
        bits: u32,
    },
}

/// A public key that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key of {algorithm} is not accepted")]
pub struct KeyRefused {
    /// The algorithm and size, or the object identifier when it has no name here.
    pub algorithm: String,
}

impl KeyAlgorithm {
    /// Size in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::EcdsaP256 | Self::Ed25519 => 256,
            Self::EcdsaP384 => 384,
            Self::EcdsaP521 => 521,
            Self::Rsa { bits } => bits,
        }
    }

    /// Reads the algorithm of a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    ///
    /// [`KeyRefused`] for everything that is not accepted, bytes that do not parse included.
    pub fn of_spki(der: &[u8]) -> Result<Self, KeyRefused> {
        match SubjectPublicKeyInfo::from_der(der) {
            Ok(([], spki)) => Self::of(&spki),
            _ => Err(KeyRefused { algorithm: "unreadable encoding".to_owned() }),
        }
    }

    pub(super) fn of(spki: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyRefused> {
        let found = Self::read(spki)?;
        if is_canonical(spki, found) {
            Ok(found)
        } else {
            Err(KeyRefused { algorithm: format!("{found} in an encoding other than its own") })
        }
    }

    fn read(spki: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyRefused> {
        let refused = |algorithm: String| Err(KeyRefused { algorithm });
        let oid = &spki.algorithm.algorithm;
        let key = spki.subject_public_key.as_ref();
        if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            let (found, coordinate) = match curve {
                Some(curve) if curve == OID_EC_P256 => (Self::EcdsaP256, 32),
                Some(curve) if curve == OID_NIST_EC_P384 => (Self::EcdsaP384, 48),
                Some(curve) if curve == OID_NIST_EC_P521 => (Self::EcdsaP521, 66),
                Some(curve) => return refused(format!("ECDSA on curve {}", curve.to_id_string())),
                None => return refused("ECDSA without a named curve".to_owned()),
            };
            if key.first() != Some(&0x04) || key.len() != 1 + 2 * coordinate {
                return refused(format!("{found} in an encoding other than an uncompressed point"));
            }
            return Ok(found);
        }
        if *oid == OID_SIG_ED25519 {
            return if key.len() == 32 {
                Ok(Self::Ed25519)
            } else {
                refused("Ed25519 of a wrong length".into())
            };
        }
        if *oid == OID_PKCS1_RSAENCRYPTION {
            let Some(bits) = rsa_bits(spki) else {
                return refused("RSA in an unreadable encoding".to_owned());
            };
            return if (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                Ok(Self::Rsa { bits })
            } else {
                refused(format!("RSA {bits}"))
            };
        }
        refused(format!("algorithm {}", oid.to_id_string()))
    }
}

/// The DER of the algorithm's identifier, the only one that RFC 5480, 8410 and 3279 allow.
const fn identifier(algorithm: KeyAlgorithm) -> &'static [u8] {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => &[
            0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07,
        ],
        KeyAlgorithm::EcdsaP384 => &[
            0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
            0x00, 0x22,
        ],
        KeyAlgorithm::EcdsaP521 => &[
            0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
            0x00, 0x23,
        ],
        KeyAlgorithm::Ed25519 => &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70],
        KeyAlgorithm::Rsa { .. } => {
            &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]
        }
    }
}

/// Whether the key has its one encoding. The parser tolerates non-canonical tags and ignores bytes after the key;
/// another parser of the same certificate might not.
fn is_canonical(spki: &SubjectPublicKeyInfo<'_>, algorithm: KeyAlgorithm) -> bool {
    let (Some(0x30), Ok(([], outer))) = (spki.raw.first(), Any::from_der(spki.raw)) else { return false };
    let Some(bits) = outer.data.strip_prefix(identifier(algorithm)) else { return false };
    let (Some(0x03), Ok(([], bits))) = (bits.first(), Any::from_der(bits)) else { return false };
    bits.data.strip_prefix(&[0]) == Some(spki.subject_public_key.as_ref())
}

fn rsa_bits(spki: &SubjectPublicKeyInfo<'_>) -> Option<u32> {
    let Ok(PublicKey::RSA(key)) = spki.parsed() else { return None };
    let first = key.modulus.iter().position(|octet| *octet != 0)?;
    let digits = key.modulus.get(first..)?;
    let bits = u32::try_from(digits.len()).ok()?.checked_mul(8)?;
    bits.checked_sub(digits.first()?.leading_zeros())
}

impl Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
        }
    }
}
