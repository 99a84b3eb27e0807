//! From the leaf upwards: which of the presented certificates have to do with it, whatever their order.
//!
//! By names, and where signatures are in question by those. What cannot be read is passed over; webpki does the same while another path is left.

use std::collections::VecDeque;

use avouch_spiffe::Reason;
use avouch_spiffe::x509::Facts;
use avouch_text::with_causes;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::super::rejection::Rejection;

/// A presented certificate.
pub(super) struct Certificate {
    /// Its place: 0 for the leaf.
    pub(super) at: usize,
    pub(super) facts: Facts,
}

/// The leaf, then what may stand above it: the nearest first.
pub(super) struct Walk {
    leaf: Certificate,
    above: Vec<Certificate>,
}

impl Walk {
    pub(super) fn from(
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<Self, Rejection> {
        let facts = Facts::parse(leaf).map_err(|error| {
            Rejection::new(Reason::CertMalformed, format!("leaf certificate: {}", with_causes(&error)))
        })?;
        let mut left: Vec<_> = intermediates
            .iter()
            .zip(1..)
            .filter_map(|(der, at)| Some(Certificate { at, facts: Facts::parse(der).ok()? }))
            .collect();
        let mut wanted = VecDeque::from([facts.issuer_der.clone()]);
        let mut above = Vec::new();
        while let Some(subject) = wanted.pop_front() {
            let (found, others) = left.into_iter().partition(|it| it.facts.subject_der == subject);
            let found: Vec<Certificate> = found;
            left = others;
            wanted.extend(found.iter().map(|it| it.facts.issuer_der.clone()));
            above.extend(found);
        }
        Ok(Self { leaf: Certificate { at: 0, facts }, above })
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.above)
    }

    pub(super) fn find(&self, fits: impl Fn(&Facts) -> bool) -> Option<&Certificate> {
        self.certificates().find(|it| fits(&it.facts))
    }

    pub(super) fn find_above_leaf(&self, fits: impl Fn(&Facts) -> bool) -> Option<&Certificate> {
        self.above.iter().find(|it| fits(&it.facts))
    }

    /// An authority with more authorities below it than it allows: itself, what it allows, and how many there are.
    pub(super) fn too_long(&self) -> Option<(&Certificate, u32, usize)> {
        self.above.iter().enumerate().find_map(|(below, it)| {
            let allowed = it.facts.path_len?;
            usize::try_from(allowed).is_ok_and(|allowed| below > allowed).then_some((it, allowed, below))
        })
    }

    /// Where the walk ends.
    pub(super) fn last(&self) -> &Certificate {
        self.above.last().unwrap_or(&self.leaf)
    }

    pub(super) fn is_leaf_alone(&self) -> bool {
        self.above.is_empty()
    }

    /// Climbs as far as the signatures between the presented certificates hold.
    pub(super) fn climb<'a>(&self, chain: &Chain<'a>) -> Climb<'a, '_> {
        let mut climb = Climb { path: Vec::new(), too_long: false, broken: None, constrained: None };
        let mut below = &self.leaf;
        let Ok(leaf) = EndEntityCert::try_from(chain.leaf) else { return climb };
        let mut used = Vec::new();
        loop {
            let mut signed_by = None;
            let mut broken = None;
            let mut constrained_here = false;
            for upper in self.above.iter().filter(|it| it.facts.subject_der == below.facts.issuer_der) {
                let der = upper.at.checked_sub(1).and_then(|at| chain.intermediates.get(at));
                let Some(der) = der.filter(|_| !used.contains(&upper.at)) else { continue };
                match chain.below(&leaf, der, &climb.path) {
                    Below::NotSigned => broken = broken.or(Some(upper)),
                    Below::Constrained => {
                        constrained_here = true;
                        climb.constrained.get_or_insert_with(|| (upper, used.clone()));
                    }
                    Below::Unknown => {}
                    Below::Holds => signed_by = signed_by.or(Some((upper, der))),
                }
            }
            if signed_by.is_none() && constrained_here {
                return climb;
            }
            let Some((upper, der)) = signed_by else {
                climb.broken = broken.map(|upper| (below, upper));
                return climb;
            };
            let authorities_below = climb.path.len();
            climb.too_long |= upper
                .facts
                .path_len
                .is_some_and(|most| usize::try_from(most).is_ok_and(|most| authorities_below > most));
            used.push(upper.at);
            climb.path.push(der.clone());
            below = upper;
        }
    }
}

/// What was presented, and what signatures are checked with.
pub(super) struct Chain<'a> {
    pub(super) leaf: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    pub(super) usage: KeyUsage,
    pub(super) now: UnixTime,
}

impl Chain<'_> {
    /// How the path stands to `upper`, if that is taken for trusted.
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

    /// How the path stands to one anchor. Asked without the anchor's constraints first: where several paths lead
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
        leaf.verify_for_usage(self.algorithms, anchors, path, self.now, self.usage, None, None).map(|_| ())
    }
}

/// How a path stands to what is above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// It holds.
    Holds,
    /// It is signed by it, and violates its name constraints.
    Constrained,
    /// It is not signed by it.
    NotSigned,
    /// It has another fault.
    Unknown,
}

/// How far a climb came.
pub(super) struct Climb<'a, 'w> {
    /// The certificates above the leaf, each of which signed the one before.
    pub(super) path: Vec<CertificateDer<'a>>,
    /// Whether one of them has more authorities below it than it allows.
    pub(super) too_long: bool,
    /// Where it went no further: a certificate, and one that has its issuer's name and did not sign it.
    pub(super) broken: Option<(&'w Certificate, &'w Certificate)>,
    /// The first whose name constraints what is below it violates, and the places of the authorities below it.
    pub(super) constrained: Option<(&'w Certificate, Vec<usize>)>,
}
