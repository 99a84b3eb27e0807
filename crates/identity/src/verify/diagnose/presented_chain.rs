//! The presented certificates that lead up from the leaf, whatever their order.
//!
//! They are told by names, and where signatures are in question by those. A certificate that cannot be read is passed
//! over; webpki does the same while another path is left.

use std::collections::VecDeque;

use avouch_spiffe::Reason;
use avouch_spiffe::x509::CertificateInfo;
use avouch_text::with_causes;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::super::rejection::Rejection;
use crate::crypto;

/// A presented certificate.
pub(super) struct Certificate {
    /// The place in the presented chain: 0 for the leaf.
    pub(super) at: usize,
    pub(super) info: CertificateInfo,
}

/// The leaf, then what may stand above it: the nearest first.
pub(super) struct PresentedChain {
    leaf: Certificate,
    above: Vec<Certificate>,
}

impl PresentedChain {
    pub(super) fn from(
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<Self, Rejection> {
        let info = CertificateInfo::parse(leaf).map_err(|error| {
            Rejection::new(Reason::CertMalformed, format!("leaf certificate: {}", with_causes(&error)))
        })?;
        let mut left: Vec<_> = intermediates
            .iter()
            .zip(1..)
            .filter_map(|(der, at)| Some(Certificate { at, info: CertificateInfo::parse(der).ok()? }))
            .collect();
        let mut wanted = VecDeque::from([info.issuer_der.clone()]);
        let mut above = Vec::new();
        while let Some(subject) = wanted.pop_front() {
            let (found, others) = left.into_iter().partition(|it| it.info.subject_der == subject);
            let found: Vec<Certificate> = found;
            left = others;
            wanted.extend(found.iter().map(|it| it.info.issuer_der.clone()));
            above.extend(found);
        }
        Ok(Self { leaf: Certificate { at: 0, info }, above })
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.above)
    }

    pub(super) fn find(&self, fits: impl Fn(&CertificateInfo) -> bool) -> Option<&Certificate> {
        self.certificates().find(|it| fits(&it.info))
    }

    pub(super) fn find_above_leaf(&self, fits: impl Fn(&CertificateInfo) -> bool) -> Option<&Certificate> {
        self.above.iter().find(|it| fits(&it.info))
    }

    /// An authority with more authorities below it than it allows: itself, what it allows, and how many there are.
    pub(super) fn too_long(&self) -> Option<(&Certificate, u32, usize)> {
        self.above.iter().enumerate().find_map(|(below, it)| {
            let allowed = it.info.path_len?;
            usize::try_from(allowed).is_ok_and(|allowed| below > allowed).then_some((it, allowed, below))
        })
    }

    /// The certificate farthest from the leaf.
    pub(super) fn last(&self) -> &Certificate {
        self.above.last().unwrap_or(&self.leaf)
    }

    pub(super) fn is_leaf_alone(&self) -> bool {
        self.above.is_empty()
    }

    /// The prefix of the chain up to which the signatures between the presented certificates hold.
    pub(super) fn signed_prefix<'a>(&self, checker: &SignatureChecker<'a>) -> SignedPrefix<'a, '_> {
        let mut prefix = SignedPrefix { path: Vec::new(), too_long: false, broken: None, constrained: None };
        let mut below = &self.leaf;
        let Ok(leaf) = EndEntityCert::try_from(checker.leaf) else { return prefix };
        let mut used = Vec::new();
        loop {
            let mut signed_by = None;
            let mut broken = None;
            let mut constrained_here = false;
            for upper in self.above.iter().filter(|it| it.info.subject_der == below.info.issuer_der) {
                let der = upper.at.checked_sub(1).and_then(|at| checker.intermediates.get(at));
                let Some(der) = der.filter(|_| !used.contains(&upper.at)) else { continue };
                match checker.below(&leaf, der, &prefix.path) {
                    Below::NotSigned => broken = broken.or(Some(upper)),
                    Below::Constrained => {
                        constrained_here = true;
                        prefix.constrained.get_or_insert_with(|| (upper, used.clone()));
                    }
                    Below::Unknown => {}
                    Below::Holds => signed_by = signed_by.or(Some((upper, der))),
                }
            }
            if signed_by.is_none() && constrained_here {
                return prefix;
            }
            let Some((upper, der)) = signed_by else {
                prefix.broken = broken.map(|upper| (below, upper));
                return prefix;
            };
            let authorities_below = prefix.path.len();
            prefix.too_long |= upper
                .info
                .path_len
                .is_some_and(|most| usize::try_from(most).is_ok_and(|most| authorities_below > most));
            used.push(upper.at);
            prefix.path.push(der.clone());
            below = upper;
        }
    }
}

/// The presented chain as webpki takes it, to check signatures and name constraints.
pub(super) struct SignatureChecker<'a> {
    pub(super) leaf: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) usage: KeyUsage,
    pub(super) now: UnixTime,
}

impl SignatureChecker<'_> {
    /// The relation of the path to `upper`, if that is taken for trusted.
    fn below(
        &self,
        leaf: &EndEntityCert<'_>,
        upper: &CertificateDer<'_>,
        path: &[CertificateDer<'_>],
    ) -> Below {
        match webpki::anchor_from_trusted_cert(upper) {
            Ok(anchor) => self.below_anchor(leaf, &anchor, path),
            Err(_) => Below::Unknown,
        }
    }

    /// The relation of the path to one anchor. Asked without the anchor's constraints first: where several paths lead
    /// there webpki reports a signature that fails on one rather than a constraint that is violated on another.
    pub(super) fn below_anchor(
        &self,
        leaf: &EndEntityCert<'_>,
        anchor: &TrustAnchor<'_>,
        path: &[CertificateDer<'_>],
    ) -> Below {
        let free = TrustAnchor { name_constraints: None, ..anchor.clone() };
        match self.holds(leaf, &[free], path) {
            Err(webpki::Error::InvalidSignatureForPublicKey) => Below::NotSigned,
            Err(_) => Below::Unknown,
            Ok(()) if anchor.name_constraints.is_none() => Below::Holds,
            Ok(()) => match self.holds(leaf, std::slice::from_ref(anchor), path) {
                Ok(()) => Below::Holds,
                Err(_) => Below::Constrained,
            },
        }
    }

    /// Whether the path holds below one of these anchors.
    pub(super) fn holds(
        &self,
        leaf: &EndEntityCert<'_>,
        anchors: &[TrustAnchor<'_>],
        path: &[CertificateDer<'_>],
    ) -> Result<(), webpki::Error> {
        let algorithms = crypto::signature_algorithms().all;
        leaf.verify_for_usage(algorithms, anchors, path, self.now, self.usage, None, None).map(|_| ())
    }
}

/// The relation of a path to the certificate above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// The path holds.
    Holds,
    /// The path is signed by it, and violates its name constraints.
    Constrained,
    /// The path is not signed by it.
    NotSigned,
    /// The path has another fault.
    Unknown,
}

/// The certificates of a presented chain, from the leaf up, between which the signatures hold.
pub(super) struct SignedPrefix<'a, 'w> {
    /// The certificates above the leaf, each of which signed the one before.
    pub(super) path: Vec<CertificateDer<'a>>,
    /// Whether one of them has more authorities below it than it allows.
    pub(super) too_long: bool,
    /// The certificate at which it ends, and one that has its issuer's name and did not sign it.
    pub(super) broken: Option<(&'w Certificate, &'w Certificate)>,
    /// The first whose name constraints what is below it violates, and the places of the authorities below it.
    pub(super) constrained: Option<(&'w Certificate, Vec<usize>)>,
}
