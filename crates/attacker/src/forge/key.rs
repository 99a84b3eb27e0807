//! Keys, and what is shown in a handshake with them: made, or found where somebody else keeps them.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;
use crate::der::{bits, oid, sequence};

/// A P-256 key.
pub struct Key(EcdsaKeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

impl Key {
    /// A fresh one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?))
    }

    /// One that was found: PKCS#8 in PEM.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let pkcs8 = pem_blocks(pem, "PRIVATE KEY")?.into_iter().next().ok_or("no private key in the file")?;
        Ok(Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8)?))
    }

    /// Its SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        let algorithm =
            [oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])];
        sequence(&[sequence(&algorithm), bits(self.0.public_key().as_ref())])
    }

    /// The SHA-256 of its SubjectPublicKeyInfo, in hexadecimal, as an issuer's records name it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.spki());
        digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// Twenty octets to know it by (RFC 7093, method 1).
    pub(super) fn id(&self) -> Vec<u8> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.0.public_key().as_ref());
        digest.as_ref().iter().take(20).copied().collect()
    }

    /// Its private form.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn private(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let pkcs8 = self.0.to_pkcs8v1()?;
        Ok(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()).into())
    }

    /// An ECDSA signature with SHA-256.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
    }
}

/// What is shown in a handshake: a chain, and the key that signs for it.
#[derive(Debug)]
pub struct Credentials {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key, whether or not it is the leaf's.
    pub key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// A chain and a key that need not fit.
    ///
    /// # Errors
    /// When the key can't be written.
    pub fn new(chain: Vec<Vec<u8>>, key: &Key) -> Result<Self, Error> {
        Ok(Self { chain: chain.into_iter().map(CertificateDer::from).collect(), key: key.private()? })
    }

    /// Those of a file that holds a key and a chain, such as a workload's stored identity.
    ///
    /// # Errors
    /// When it does not.
    pub fn stolen(pem: &str) -> Result<(Self, Key), Error> {
        let key = Key::from_pem(pem)?;
        Ok((Self::new(pem_blocks(pem, "CERTIFICATE")?, &key)?, key))
    }
}

/// The contents of a PEM file's blocks of one kind.
///
/// # Errors
/// When one is not base64.
pub fn pem_blocks(pem: &str, label: &str) -> Result<Vec<Vec<u8>>, Error> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let blocks = pem.split(begin.as_str()).skip(1).filter_map(|rest| rest.split(end.as_str()).next());
    let decode = |block: &str| STANDARD.decode(block.split_whitespace().collect::<String>());
    blocks.map(|block| decode(block).map_err(Error::from)).collect()
}
