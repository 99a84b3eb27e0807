//! Verification of a presented chain: whether it is, at this moment, the X509-SVID of an identity that the filter admits.
//!
//! - Specification: X509-SVID §5.1 (RFC 5280 path validation), §5.2 (leaf checks); Trust Domain and Bundle §3 (the
//!   bundle of the peer's own trust domain).
//! - Enforced here: limits, path by webpki and what it leaves out (`extra_checks`), then every leaf check, then the
//!   identity filter. Only ever adds to webpki's verdict.
//!   Revocations of the trust state, before the identity filter (ADR 10).
//! - Not enforced: names, since DNS never authorizes.

use std::cell::RefCell;
use std::time::SystemTime;

use avouch_spiffe::x509::{CertificateInfo, Leaf};
use avouch_spiffe::{PeerIdentity, Reason, SpiffeId, TrustDomain};
use avouch_text::with_causes;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::extra_checks::PathAuthorities;
use super::rejection::{Rejection, position};
use super::revocation::check_revoked;
use super::webpki_input::{Role, unix_time};
use super::{diagnose, extra_checks};
use crate::crypto;
use crate::filter::IdentityFilter;
use crate::trust::{Anchors, TrustStore};

/// Ceilings on what a peer may present, checked before anything is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLimits {
    /// Certificates in the presented chain, leaf included.
    pub max_depth: usize,
    /// Bytes of one certificate.
    pub max_certificate_bytes: usize,
}

impl Default for ChainLimits {
    fn default() -> Self {
        Self { max_depth: 5, max_certificate_bytes: 16 * 1024 }
    }
}

impl ChainLimits {
    /// Rejects a chain that is too deep, or a certificate that is too large, before anything is parsed.
    pub(super) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Rejection> {
        let depth = intermediates.len() + 1;
        if depth > self.max_depth {
            let detail = format!("{depth} certificates presented, {} allowed", self.max_depth);
            return Err(Rejection::new(Reason::CertChainTooDeep, detail));
        }
        let allowed = self.max_certificate_bytes;
        let sizes = std::iter::once(leaf).chain(intermediates).map(|der| der.len()).enumerate();
        if let Some((at, size)) = sizes.max_by_key(|(_, size)| *size).filter(|(_, size)| *size > allowed) {
            let detail = format!("{}: {size} bytes presented, {allowed} allowed", position(at));
            return Err(Rejection::new(Reason::CertTooLarge, detail));
        }
        Ok(())
    }
}

/// The verifier of a chain, and what it verifies against.
pub(crate) struct ChainVerifier<'a> {
    pub(crate) trust: &'a TrustStore,
    pub(crate) own_domain: Option<&'a TrustDomain>,
    pub(crate) filter: &'a IdentityFilter,
    pub(crate) limits: &'a ChainLimits,
}

impl ChainVerifier<'_> {
    /// Verifies `leaf` and `intermediates` as presented by the peer in `role`.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
        now: SystemTime,
    ) -> Result<PeerIdentity, Rejection> {
        // 1. The limits, before signatures are checked.
        self.limits.check(leaf, intermediates)?;
        check_names(intermediates)?;
        // 2. The bundle of the trust domain that the leaf claims, and of no other. A leaf that claims none is checked against
        // our own, so that its real fault is reported; step 4 rejects it.
        let end_entity =
            EndEntityCert::try_from(leaf).map_err(|error| diagnose::unusable_leaf(&error, leaf))?;
        let claimed = claimed_domain(&end_entity);
        let domain = claimed.as_ref().or(self.own_domain).ok_or_else(no_spiffe_id)?;
        let anchors = self.trust.anchors(domain).ok_or_else(|| {
            let held: Vec<_> =
                self.trust.bundles().iter().map(|bundle| bundle.trust_domain().as_str()).collect();
            let detail = format!(
                "no bundle is loaded for trust domain {domain}; there are those of [{}]",
                held.join(", ")
            );
            Rejection::new(Reason::TrustDomainUnknown, detail)
        })?;
        // 3. The path to a root of that bundle.
        let authorities = self.check_path(&end_entity, leaf, intermediates, anchors, role, now)?;
        // 4. The leaf, clause by clause: only now is its SPIFFE ID believed.
        let parsed = Leaf::parse(leaf)
            .map_err(|error| Rejection::new(error.reason(), with_causes(&error).to_string()))?;
        // The claim was read by webpki, the SPIFFE ID by x509-parser: this holds whatever the two may read differently.
        if parsed.spiffe_id().trust_domain() != domain {
            let detail =
                format!("the chain was verified for trust domain {domain}, not for {}", parsed.spiffe_id());
            return Err(Rejection::new(Reason::TrustDomainUnknown, detail));
        }
        let peer = PeerIdentity::from_leaf(&parsed, leaf)
            .signed_by(authorities.issuer_key_id)
            .through(authorities.upper_key_ids, authorities.root_sha256);
        // 5. The revocations.
        if let Err(rejection) = check_revoked(self.trust, &peer) {
            return Err(rejection.with_peer(peer));
        }
        // 6. The identity filter.
        self.admit(peer, role)
    }

    /// The authorities of the path, if it holds.
    fn check_path(
        &self,
        end_entity: &EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        anchors: &Anchors,
        role: Role,
        now: SystemTime,
    ) -> Result<PathAuthorities, Rejection> {
        // webpki tries the next path when one is rejected, and does not keep the reason.
        let turned_down = RefCell::new(None);
        // Those of the path that was looked at last, which is the one that holds in the end.
        let authorities = RefCell::new(PathAuthorities::default());
        let look = |path: &webpki::VerifiedPath<'_>| {
            let checked = extra_checks::check(path, anchors, intermediates, now);
            checked.map(|found| *authorities.borrow_mut() = found).map_err(|rejection| {
                turned_down.borrow_mut().get_or_insert(rejection);
                webpki::Error::UnknownIssuer
            })
        };
        let verdict = end_entity.verify_for_usage(
            crypto::signature_algorithms().all,
            anchors.prepared(),
            intermediates,
            unix_time(now),
            role.usage(),
            None,
            Some(&look),
        );
        match verdict {
            Ok(_) => Ok(authorities.take()),
            Err(error) => Err(turned_down.take().unwrap_or_else(|| {
                let failed = diagnose::Failed { leaf, intermediates, anchors, role, now };
                failed.explain(&error)
            })),
        }
    }

    fn admit(&self, peer: PeerIdentity, role: Role) -> Result<PeerIdentity, Rejection> {
        if self.filter.admits(peer.spiffe_id()) {
            return Ok(peer);
        }
        let (reason, detail) = match role {
            Role::Client => (
                Reason::IdentityNotAdmitted,
                format!("{} is not admitted here ({})", peer.spiffe_id(), self.filter),
            ),
            Role::Server => (
                Reason::ServerIdentityMismatch,
                format!("expected {}, got {}", self.filter, peer.spiffe_id()),
            ),
        };
        Err(Rejection::new(reason, detail).with_peer(peer))
    }
}

/// Authorities of one name could each have signed each, and webpki tries them in every order, a signature check at a
/// time: four of them cost more than ten handshakes. Two are an authority and its successor, or the same one signed
/// by two others.
fn check_names(intermediates: &[CertificateDer<'_>]) -> Result<(), Rejection> {
    const NAMESAKES: usize = 2;
    if intermediates.len() <= NAMESAKES {
        return Ok(());
    }
    // A certificate that cannot be read is rejected where it is used.
    let subjects: Vec<String> = intermediates
        .iter()
        .filter_map(|der| CertificateInfo::parse(der).ok())
        .map(|info| info.subject)
        .collect();
    let namesakes = |subject: &String| subjects.iter().filter(|other| *other == subject).count();
    match subjects.iter().find(|subject| namesakes(subject) > NAMESAKES) {
        None => Ok(()),
        Some(subject) => {
            let count = namesakes(subject);
            let detail = format!("{count} authorities are named {subject}, {NAMESAKES} allowed");
            Err(Rejection::new(Reason::CertChainTooDeep, detail))
        }
    }
}

/// The trust domain the leaf claims, if it claims exactly one SPIFFE ID. Only selects the bundle; nothing is
/// believed before the path holds and the whole leaf is checked.
fn claimed_domain(end_entity: &EndEntityCert<'_>) -> Option<TrustDomain> {
    let mut uris = end_entity.valid_uri_names();
    let only = uris.next()?;
    if uris.next().is_some() {
        return None;
    }
    only.parse::<SpiffeId>().ok().map(|id| id.trust_domain().clone())
}

fn no_spiffe_id() -> Rejection {
    Rejection::new(Reason::SvidInvalid, "X509-SVID §2: the leaf does not carry exactly one SPIFFE ID")
}
