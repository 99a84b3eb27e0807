//! An expired chain, verified as it stood when its leaf was valid.
//!
//! *Specification*: RFC 5280 path validation against the roots of the own trust domain, X509-SVID leaf checks.
//! *Enforced here*: both, at the leaf's last second, so that only the leaf's own expiry is disregarded.
//! *Not enforced here*: that the certificate was issued by us (the store knows) and how long ago it ended (the entry
//! decides).

use avouch_spiffe::x509::{Leaf, SvidError};
use avouch_spiffe::{Bundle, Reason};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::SystemTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// The longest chain that is accepted. Ours have two certificates: the leaf and its signing authority. The issuer's own
/// adds the root.
const MAX_CERTIFICATES: usize = 4;
const MAX_BYTES: usize = 16 * 1024;
/// The signature algorithms of our authorities, and no others.
static ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] =
    &[webpki::aws_lc_rs::ECDSA_P256_SHA256, webpki::aws_lc_rs::ECDSA_P384_SHA384];

/// An expired chain that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is no certificate.
    #[error("the chain is empty")]
    Empty,
    /// Too many certificates.
    #[error("the chain has {0} certificates, more than {MAX_CERTIFICATES}")]
    TooDeep(usize),
    /// Too many bytes.
    #[error("the chain has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// The leaf is no X.509-SVID.
    #[error("the leaf is no X.509-SVID")]
    Leaf(#[from] SvidError),
    /// The leaf belongs to somebody else's trust domain.
    #[error("the leaf belongs to the trust domain {0}")]
    ForeignTrustDomain(String),
    /// No path leads to a root of ours.
    #[error("no path leads from the leaf to a root of the bundle")]
    Path(#[source] webpki::Error),
}

impl ChainError {
    /// The reason that the refusal carries.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Empty => Reason::CertMalformed,
            Self::TooDeep(_) => Reason::CertChainTooDeep,
            Self::TooLarge(_) => Reason::CertTooLarge,
            Self::Leaf(error) => error.reason(),
            Self::ForeignTrustDomain(_) => Reason::TrustDomainUnknown,
            Self::Path(_) => Reason::CertUntrusted,
        }
    }
}

/// Verifies a chain, leaf first, and gives its leaf.
pub(crate) fn verify(chain: &[Vec<u8>], bundle: &Bundle) -> Result<Leaf, ChainError> {
    let (first, rest) = chain.split_first().ok_or(ChainError::Empty)?;
    if chain.len() > MAX_CERTIFICATES {
        return Err(ChainError::TooDeep(chain.len()));
    }
    let bytes = chain.iter().map(Vec::len).sum();
    if bytes > MAX_BYTES {
        return Err(ChainError::TooLarge(bytes));
    }
    let leaf = Leaf::parse(first)?;
    let trust_domain = leaf.spiffe_id().trust_domain();
    if trust_domain != bundle.trust_domain() {
        return Err(ChainError::ForeignTrustDomain(trust_domain.to_string()));
    }
    let roots: Vec<_> =
        bundle.authorities().iter().map(|root| CertificateDer::from(root.der().to_vec())).collect();
    let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(ChainError::Path)?;
    let intermediates: Vec<_> = rest.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let end = CertificateDer::from(first.as_slice());
    let at = leaf.not_after().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    EndEntityCert::try_from(&end)
        .and_then(|end| {
            let at = UnixTime::since_unix_epoch(at);
            end.verify_for_usage(
                ALGORITHMS,
                &anchors,
                &intermediates,
                at,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map(|_| ())
        })
        .map_err(ChainError::Path)?;
    Ok(leaf)
}
