//! First contact: trust in a root that is known by its fingerprint only.
//!
//! A join token names the SHA-256 of the root certificates. The issuer presents its root at the end of its chain;
//! the one whose fingerprint is pinned becomes the only trust anchor of that connection. Nothing is trusted on
//! first use.

use avouch_spiffe::x509::Authority;
use avouch_spiffe::{Bundle, BundleSet, Reason, TrustDomain};
use rustls::pki_types::CertificateDer;

use super::rejection::Rejection;
use crate::trust::TrustStore;

pub(crate) fn trust_store(
    pins: &[[u8; 32]],
    presented: &[CertificateDer<'_>],
    trust_domain: Option<&TrustDomain>,
) -> Result<TrustStore, Rejection> {
    let roots: Vec<Authority> = presented
        .iter()
        .filter_map(|der| Authority::parse(der).ok())
        .filter(|authority| pins.contains(&authority.sha256()))
        .collect();
    if roots.is_empty() {
        return Err(Rejection::new(
            Reason::CertUntrusted,
            "the server presented no root certificate with a fingerprint that the join token pins",
        ));
    }
    let trust_domain = trust_domain.ok_or_else(|| {
        Rejection::new(
            Reason::TrustDomainUnknown,
            "a pinned connection must name the trust domain it expects",
        )
    })?;
    let mut bundles = BundleSet::default();
    bundles.insert(Bundle::new(trust_domain.clone(), roots, 0));
    Ok(TrustStore::new(bundles))
}
