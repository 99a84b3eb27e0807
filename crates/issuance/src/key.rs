//! Private keys: ECDSA on P-256, made here or read from unencrypted PKCS#8.
//!
//! The bytes of a key live in memory that is cleared when it is given up, and never print.

use std::fmt::{self, Debug};

use avouch_files::pem::{self, PemError};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use rustls_pki_types::PrivateKeyDer;
use zeroize::{Zeroize as _, Zeroizing};

/// A P-256 private key.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

/// A failure to make or read a key. No variant carries key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Generating failed.
    #[error("a key could not be generated")]
    Generate,
    /// The text has no private key that is PEM and not encrypted.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The key is PEM, but in SEC 1 or PKCS#1 instead of PKCS#8.
    #[error(
        "the key is in SEC 1 or PKCS#1, not in PKCS#8 (BEGIN PRIVATE KEY); `openssl pkey -in FILE -out KEY.pem` writes it \
         as it is needed"
    )]
    NotPkcs8,
    /// The bytes are not the PKCS#8 encoding of a P-256 key.
    #[error("the key is not a P-256 key in PKCS#8")]
    NotP256,
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Generate`] when the cryptographic library refuses.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError::Generate)?;
        let document = pair.to_pkcs8v1().map_err(|_| KeyError::Generate)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(document.as_ref().to_vec()) })
    }

    /// Reads DER.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotP256`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map_err(|_| KeyError::NotP256)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// Reads the first private key of PEM text.
    ///
    /// # Errors
    ///
    /// [`KeyError::Pem`], [`KeyError::NotPkcs8`] or [`KeyError::NotP256`].
    pub fn from_pkcs8_pem(text: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let mut der = pem::private_key(text.as_ref())?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(pkcs8) => Self::from_pkcs8_der(pkcs8.secret_pkcs8_der()),
            _ => Err(KeyError::NotPkcs8),
        };
        der.zeroize();
        key
    }

    /// The key as PEM text, a secret.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        pem::encode_secret("PRIVATE KEY", &self.pkcs8)
    }

    /// The key as DER, a secret.
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as DER `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> Vec<u8> {
        Public(self).subject_public_key_info()
    }
}

impl Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([redacted])")
    }
}

/// The key as a signer for rcgen.
pub(crate) struct Signer(pub(crate) PrivateKey);

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.0.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.pair.sign(&SystemRandom::new(), message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| rcgen::Error::RingUnspecified)
    }
}

struct Public<'a>(&'a PrivateKey);

impl PublicKeyData for Public<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

#[cfg(test)]
mod tests {
    use avouch_spiffe::x509::KeyAlgorithm;

    use super::*;

    #[test]
    fn a_key_survives_its_pem_and_der_forms() {
        let key = PrivateKey::generate().unwrap();
        let text = key.to_pkcs8_pem();
        assert!(
            text.starts_with("-----BEGIN PRIVATE KEY-----\n")
                && text.ends_with("-----END PRIVATE KEY-----\n")
        );
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(PrivateKey::from_pkcs8_pem(&text).unwrap().spki_der(), key.spki_der());
        assert_eq!(PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap().spki_der(), key.spki_der());
        assert_eq!(KeyAlgorithm::of_spki(&key.spki_der()), Ok(KeyAlgorithm::EcdsaP256));
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", PrivateKey::generate().unwrap()), "PrivateKey([redacted])");
    }

    #[test]
    fn what_is_no_p256_key_is_refused() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        for der in [p384.serialize_der(), ed25519.serialize_der(), vec![], vec![0x30, 0x00]] {
            assert_eq!(PrivateKey::from_pkcs8_der(&der).unwrap_err(), KeyError::NotP256);
        }
        assert_eq!(PrivateKey::from_pkcs8_pem(p384.serialize_pem()).unwrap_err(), KeyError::NotP256);
        let certificate = pem::encode("CERTIFICATE", &[1, 2, 3]);
        for text in ["", "garbage", &certificate, &pem::encode("ENCRYPTED PRIVATE KEY", &[1, 2, 3])] {
            assert!(matches!(PrivateKey::from_pkcs8_pem(text), Err(KeyError::Pem(_))), "{text}");
        }
        for label in ["EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            let text = pem::encode(label, &[1, 2, 3]);
            assert_eq!(PrivateKey::from_pkcs8_pem(text).unwrap_err(), KeyError::NotPkcs8);
        }
    }
}
