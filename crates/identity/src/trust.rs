//! Trust anchors per trust domain, prepared for path validation.
//!
//! Bundles are never merged: a peer's certificate is judged by its own trust domain's anchors alone
//! (SPIFFE Trust Domain and Bundle §3). webpki's anchors carry no dates and no path length, so the whole roots are kept
//! beside them.

use std::collections::HashMap;
use std::sync::Arc;

use avouch_spiffe::x509::Authority;
use avouch_spiffe::{Bundle, BundleSet, TrustDomain, TrustState};
use rustls::pki_types::{CertificateDer, TrustAnchor};

/// The roots of one trust domain, ready to verify with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anchors {
    prepared: Vec<TrustAnchor<'static>>,
    authorities: Vec<Authority>,
}

impl Anchors {
    fn new(bundle: &Bundle) -> Self {
        let mut anchors = Self::default();
        for authority in bundle.authorities() {
            match webpki::anchor_from_trusted_cert(&CertificateDer::from_slice(authority.der())) {
                Ok(anchor) => {
                    anchors.prepared.push(anchor.to_owned());
                    anchors.authorities.push(authority.clone());
                }
                Err(error) => tracing::warn!(
                    trust_domain = %bundle.trust_domain(),
                    subject = authority.subject(),
                    %error,
                    "a root of the bundle cannot verify anything and is left out"
                ),
            }
        }
        anchors
    }

    /// The trust anchors for webpki, each in the place of its root.
    pub(crate) fn prepared(&self) -> &[TrustAnchor<'static>] {
        &self.prepared
    }

    /// The root that one of the prepared anchors stands for.
    pub(crate) fn root_of(&self, anchor: &TrustAnchor<'_>) -> Option<&Authority> {
        let at = self.prepared.iter().position(|prepared| std::ptr::eq(prepared, anchor))?;
        self.authorities.get(at)
    }

    /// The roots.
    pub(crate) fn roots(&self) -> &[Authority] {
        &self.authorities
    }
}

/// The trust state of a snapshot, and the anchors made of its bundles.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    state: TrustState,
    anchors: HashMap<TrustDomain, Arc<Anchors>>,
}

impl TrustStore {
    /// Prepares the anchors of every bundle. Takes bundles alone, or a trust state.
    pub fn new(state: impl Into<TrustState>) -> Self {
        Self::default().next(state.into())
    }

    /// The store of a later state. The anchors of bundles that have not changed are not prepared again.
    #[must_use]
    pub fn next(&self, state: TrustState) -> Self {
        let prepare = |bundle: &Arc<Bundle>| {
            let domain = bundle.trust_domain();
            let prepared = self.anchors(domain).filter(|_| self.state.bundles.get(domain) == Some(bundle));
            let anchors = prepared.cloned().unwrap_or_else(|| Arc::new(Anchors::new(bundle)));
            (domain.clone(), anchors)
        };
        let anchors = state.bundles.iter().map(prepare).collect();
        Self { state, anchors }
    }

    /// The trust state.
    pub fn state(&self) -> &TrustState {
        &self.state
    }

    /// The bundles the anchors were made of.
    pub fn bundles(&self) -> &BundleSet {
        &self.state.bundles
    }

    /// The anchors of a trust domain, where there is a bundle of it.
    pub(crate) fn anchors(&self, trust_domain: &TrustDomain) -> Option<&Arc<Anchors>> {
        self.anchors.get(trust_domain)
    }

    /// The trust domain, where there is a bundle of one only.
    pub(crate) fn only_domain(&self) -> Option<&TrustDomain> {
        let mut domains = self.bundles().iter().map(|bundle| bundle.trust_domain());
        domains.next().filter(|_| domains.next().is_none())
    }
}
