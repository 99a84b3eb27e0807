//! First contact: trust in a root that is known by its fingerprint only (ADR 3).
//!
//! A join token names the SHA-256 of the root certificates. The issuer presents its root among the
//! intermediates; the one whose fingerprint is pinned becomes the only trust anchor of that connection. Nothing is trusted on
//! first use.

use avouch_spiffe::x509::Authority;
use avouch_spiffe::{Bundle, BundleSet, Reason, TrustDomain};
use avouch_text::hex;
use rustls::pki_types::CertificateDer;

use super::rejection::Rejection;
use crate::trust::TrustStore;

pub(crate) fn trust_store(
    pins: &[[u8; 32]],
    presented: &[CertificateDer<'_>],
    trust_domain: Option<&TrustDomain>,
) -> Result<TrustStore, Rejection> {
    let presented: Vec<Authority> = presented.iter().filter_map(|der| Authority::parse(der).ok()).collect();
    if !presented.iter().any(|authority| pins.contains(&authority.sha256())) {
        return Err(not_pinned(pins, &presented));
    }
    let roots: Vec<Authority> =
        presented.into_iter().filter(|authority| pins.contains(&authority.sha256())).collect();
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

/// Expected and got, by the first octets of the fingerprints: enough to see which root it is.
fn not_pinned(pins: &[[u8; 32]], presented: &[Authority]) -> Rejection {
    let expected: Vec<String> = pins.iter().map(short).collect();
    let got: Vec<String> =
        presented.iter().map(|it| format!("{} ({})", short(&it.sha256()), it.subject())).collect();
    let detail = format!(
        "the server presented no root certificate with a fingerprint that the join token pins: expected SHA-256 {}, got [{}]",
        expected.join(" or "),
        got.join(", ")
    );
    Rejection::new(Reason::CertUntrusted, detail)
}

fn short(fingerprint: &[u8; 32]) -> String {
    format!("{}…", hex::encode(fingerprint.get(..8).unwrap_or_default()))
}
