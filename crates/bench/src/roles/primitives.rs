//! The cryptography that a full handshake of mutual TLS cannot do without, and nothing else of it: its limit.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::sign::SigningKey;
use rustls_pki_types::SignatureVerificationAlgorithm;

use crate::error::Error;
use crate::pki::{Pki, SERVER};

/// Signature checks of the two chains, each of a leaf and an authority below the root.
const CHAIN_CHECKS: usize = 4;

/// The bytes that a `CertificateVerify` signs: the padding and context of RFC 8446 §4.4.3, and a hash of 48 bytes.
const TRANSCRIPT: usize = 64 + 33 + 1 + 48;

/// One handshake's key exchange (both ends), two signatures, and the checks of these and of four in certificates.
pub(super) struct Primitives {
    group: &'static dyn SupportedKxGroup,
    key: Arc<dyn SigningKey>,
    /// The point of the key.
    public: Vec<u8>,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    transcript: Vec<u8>,
    certificate: Vec<u8>,
    certificate_signature: Vec<u8>,
}

impl Primitives {
    pub(super) fn new(pki: &Pki, provider: &CryptoProvider) -> Result<Self, Error> {
        const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
        let (chain, key) = pki.credentials(SERVER)?;
        let key = provider.key_provider.load_private_key(key).map_err(failed)?;
        let public = key.public_key().ok_or_else(|| Error::other("the key does not tell its public half"))?;
        // The uncompressed point is the end of the DER.
        let point = public.len().checked_sub(65).and_then(|at| public.get(at..)).unwrap_or_default().to_vec();
        let mut mapping = provider.signature_verification_algorithms.mapping.iter();
        let algorithm = mapping.find(|(scheme, _)| *scheme == SCHEME).and_then(|(_, found)| found.first());
        let certificate = chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        let mut primitives = Self {
            group: *provider.kx_groups.first().ok_or_else(|| Error::other("no key-exchange group"))?,
            key,
            public: point,
            algorithm: *algorithm.ok_or_else(|| Error::other("no ECDSA on P-256"))?,
            transcript: vec![0x20; TRANSCRIPT],
            certificate,
            certificate_signature: Vec::new(),
        };
        primitives.certificate_signature = primitives.sign(&primitives.certificate)?;
        Ok(primitives)
    }

    pub(super) fn once(&self) -> Result<String, Error> {
        // 1. The key exchange: the client's share, the server's with its secret, the client's secret.
        let client = self.group.start().map_err(failed)?;
        let server = self.group.start_and_complete(client.pub_key()).map_err(failed)?;
        let secret = client.complete(&server.pub_key).map_err(failed)?;
        if secret.secret_bytes() != server.secret.secret_bytes() {
            return Err(Error::other("the ends have different secrets"));
        }
        // 2. Each end proves its key, and the other end checks that.
        for _end in ["server", "client"] {
            let signature = self.sign(&self.transcript)?;
            self.verify(&self.transcript, &signature)?;
        }
        // 3. The signatures in the certificates.
        for _ in 0..CHAIN_CHECKS {
            self.verify(&self.certificate, &self.certificate_signature)?;
        }
        Ok(format!("{:?}", self.group.name()))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signer = self.key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]);
        signer.ok_or_else(|| Error::other("the key is not on P-256"))?.sign(message).map_err(failed)
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let checked = self.algorithm.verify_signature(&self.public, message, signature);
        checked.map_err(|_| Error::other("a signature does not verify"))
    }
}

fn failed(error: rustls::Error) -> Error {
    Error::other(format!("the cryptography of a handshake: {error}"))
}
