//! The private keys of SVIDs: P-256, generated here, and never sent anywhere.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::error::IdentityError;

/// A fresh or stored key, before or after it has a certificate.
pub(super) struct SvidKey {
    pair: KeyPair,
}

impl SvidKey {
    pub(super) fn generate() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(crypto)?;
        Ok(Self { pair })
    }

    pub(super) fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, IdentityError> {
        Ok(Self { pair: KeyPair::try_from(der).map_err(crypto)? })
    }

    /// PKCS#8, PEM.
    pub(super) fn to_pem(&self) -> Zeroizing<String> {
        avouch_files::pem::encode_secret("PRIVATE KEY", &Zeroizing::new(self.pair.serialize_der()))
    }

    pub(super) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }

    /// A certificate signing request that proves possession and asks for nothing: the issuer knows who we are.
    pub(super) fn request(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair).map_err(crypto)?;
        Ok(request.der().to_vec())
    }

    /// Signs with the key's own algorithm (ECDSA, SHA-256, ASN.1).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        use rcgen::SigningKey as _;
        self.pair.sign(message).map_err(crypto)
    }

    /// Whether `spki` is this key's public half.
    pub(super) fn is_for(&self, spki: &[u8]) -> bool {
        self.pair.subject_public_key_info() == spki
    }
}

fn crypto(error: rcgen::Error) -> IdentityError {
    IdentityError::Crypto(error.to_string())
}
