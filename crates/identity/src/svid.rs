//! An X.509-SVID a workload can use: certificate chain and private key, checked to belong together.
//!
//! Invariants: the leaf passes every X509-SVID check, and the key is the leaf's. The key never prints.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use avouch_spiffe::SpiffeId;
use avouch_spiffe::x509::{Leaf, SvidError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Why a chain and a key do not make an SVID.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvidLoadError {
    /// The chain holds no certificate.
    #[error("the certificate chain is empty")]
    EmptyChain,
    /// The leaf is not an X509-SVID.
    #[error("the leaf certificate is not an X509-SVID")]
    Leaf(#[from] SvidError),
    /// The key cannot be used for signing.
    #[error("the private key cannot be used")]
    Key(#[source] rustls::Error),
    /// The key is not the one the certificate was issued for.
    #[error("the private key does not match the certificate of {0}")]
    KeyMismatch(SpiffeId),
}

/// A usable X.509-SVID: leaf, intermediates and the leaf's private key.
#[derive(Clone)]
pub struct Svid {
    leaf: Arc<Leaf>,
    certified: Arc<CertifiedKey>,
}

impl Svid {
    /// Takes a chain (leaf first) and its key.
    ///
    /// # Errors
    /// When the leaf breaks an X509-SVID rule, or the key is unusable or another's.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, SvidLoadError> {
        let leaf_der = chain.first().ok_or(SvidLoadError::EmptyChain)?;
        let leaf = Leaf::parse(leaf_der)?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(key).map_err(SvidLoadError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(SvidLoadError::KeyMismatch(leaf.spiffe_id().clone()));
            }
            Err(other) => return Err(SvidLoadError::Key(other)),
        }
        Ok(Self { leaf: Arc::new(leaf), certified: Arc::new(certified) })
    }

    /// The identity the leaf carries.
    pub fn spiffe_id(&self) -> &SpiffeId {
        self.leaf.spiffe_id()
    }

    /// The facts of the leaf certificate.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The certificates, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// When the leaf expires.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after()
    }

    /// Whether the private key belongs to the leaf, asked again: none was made of two that do not fit.
    pub fn key_matches(&self) -> bool {
        self.certified.keys_match().is_ok()
    }

    pub(crate) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("spiffe_id", self.leaf.spiffe_id())
            .field("serial", &self.leaf.serial())
            .field("not_after", &self.leaf.not_after())
            .field("key", &"[redacted]")
            .finish()
    }
}
