//! Trust anchors per trust domain, prepared for path validation.
//!
//! Bundles are never merged: a peer's certificate is judged by its own trust domain's anchors alone
//! (SPIFFE Trust Domain and Bundle §3). webpki's anchors carry no dates, so theirs are kept beside them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use avouch_spiffe::{BundleSet, PeerIdentity, Reason, TrustDomain};
use rustls::pki_types::{CertificateDer, TrustAnchor};

use crate::filter::IdentityFilter;
use crate::verify::{ChainLimits, Judge, Rejection, Role};

/// A root certificate, ready to verify with.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    pub(crate) anchor: TrustAnchor<'static>,
    pub(crate) subject: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Anchor {
    pub(crate) fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// The bundles of a snapshot and the anchors made of them.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    bundles: Arc<BundleSet>,
    anchors: HashMap<TrustDomain, Vec<Anchor>>,
}

impl TrustStore {
    /// Prepares the anchors of every bundle.
    pub fn new(bundles: BundleSet) -> Self {
        let mut anchors = HashMap::new();
        for bundle in bundles.iter() {
            let trust_domain = bundle.trust_domain();
            let prepared = bundle.authorities().iter().filter_map(|authority| {
                let der = CertificateDer::from_slice(authority.der());
                match webpki::anchor_from_trusted_cert(&der) {
                    Ok(anchor) => Some(Anchor {
                        anchor: anchor.to_owned(),
                        subject: authority.subject().to_owned(),
                        not_before: authority.not_before(),
                        not_after: authority.not_after(),
                    }),
                    Err(error) => {
                        tracing::warn!(
                            trust_domain = %trust_domain,
                            subject = authority.subject(),
                            %error,
                            "a root of the bundle cannot verify anything and is left out"
                        );
                        None
                    }
                }
            });
            anchors.insert(trust_domain.clone(), prepared.collect());
        }
        Self { bundles: Arc::new(bundles), anchors }
    }

    /// The bundles the anchors were made of.
    pub fn bundles(&self) -> &Arc<BundleSet> {
        &self.bundles
    }

    /// Judges a chain, leaf first, as a listener with default limits would that admits every trusted identity: for
    /// chains that come from somewhere else than a handshake. `own_domain` is whose bundle a leaf without a SPIFFE ID
    /// is held against, so that its refusal says what else is wrong.
    ///
    /// # Errors
    /// Why such a listener would refuse the chain.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        own_domain: Option<&TrustDomain>,
        now: SystemTime,
    ) -> Result<PeerIdentity, Rejection> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(Rejection::new(Reason::CertMalformed, "the chain is empty"));
        };
        let judge = Judge {
            trust: self,
            own_domain,
            filter: &IdentityFilter::any_trusted(),
            limits: &ChainLimits::default(),
            algorithms: crate::tls::crypto_provider().signature_verification_algorithms.all,
        };
        judge.verify(leaf, intermediates, Role::Client, now)
    }

    pub(crate) fn anchors(&self, trust_domain: &TrustDomain) -> Option<&[Anchor]> {
        self.anchors.get(trust_domain).map(Vec::as_slice)
    }
}
