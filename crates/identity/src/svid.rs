//! An X.509-SVID a workload can use: certificate chain and private key, checked to belong together.
//!
//! Invariants: the leaf passes every X509-SVID check, and the key is the leaf's. The key never prints.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use avouch_spiffe::SpiffeId;
use avouch_spiffe::x509::{CertificateInfo, Leaf, SvidError, leaf_first};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The error of a chain and a key that do not make an SVID.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvidLoadError {
    /// The chain holds no certificate.
    #[error("the certificate chain is empty")]
    EmptyChain,
    /// The leaf is of a version of X.509 that has no extensions.
    #[error(
        "X.509 version {version}: the certificate cannot carry a SPIFFE ID; issue it with extensions (`openssl x509 -req` \
         takes them from the file of -extfile)"
    )]
    OldVersion {
        /// 1 or 2.
        version: u32,
    },
    /// An authority comes before the leaf.
    #[error(
        "the leaf must come first; it is certificate {at} of the file: put it before the others, each behind the one that it \
         signed"
    )]
    LeafNotFirst {
        /// The leaf's place, from 1.
        at: usize,
    },
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
    /// An SVID of a chain (leaf first) and its key.
    ///
    /// # Errors
    /// When the leaf breaks an X509-SVID rule, or the key is unusable or another's.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, SvidLoadError> {
        let leaf_der = chain.first().ok_or(SvidLoadError::EmptyChain)?;
        let leaf = Leaf::parse(leaf_der).map_err(|error| explain(error, &chain))?;
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

    /// The places, from 1, in which the certificates of the chain should be, where they are not: the leaf first, then
    /// each authority behind what it signed. What is left out has nothing to do with the leaf. Some peers reject a chain
    /// that is out of order (RFC 8446 §4.4.2).
    pub(crate) fn better_order(&self) -> Option<Vec<usize>> {
        Some(leaf_first(self.chain())?.into_iter().map(|at| at + 1).collect())
    }

    /// The identity the leaf carries.
    pub fn spiffe_id(&self) -> &SpiffeId {
        self.leaf.spiffe_id()
    }

    /// The leaf certificate.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The certificates, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The last second of the leaf's validity.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after()
    }

    /// Whether the private key belongs to the leaf. Checked again, although [`Svid::new`] refuses a key that does not.
    pub fn key_matches(&self) -> bool {
        self.certified.keys_match().is_ok()
    }

    pub(crate) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// The error for a leaf that is no SVID, in terms of a file: the version of X.509, or an authority before the leaf.
fn explain(error: SvidError, chain: &[CertificateDer<'_>]) -> SvidLoadError {
    let version = chain
        .first()
        .and_then(|leaf| CertificateInfo::parse_any_version(leaf).ok())
        .map_or(3, |it| it.version);
    if version < 3 {
        return SvidLoadError::OldVersion { version };
    }
    match leaf_first(chain).and_then(|order| order.first().copied()) {
        Some(at) if at > 0 => SvidLoadError::LeafNotFirst { at: at + 1 },
        _ => error.into(),
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
