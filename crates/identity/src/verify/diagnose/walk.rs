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
        let mut climb = Climb { path: Vec::new(), too_long: false, broken: None };
        let mut below = &self.leaf;
        let Ok(leaf) = EndEntityCert::try_from(chain.leaf) else { return climb };
        let mut used = Vec::new();
        loop {
            let mut signed_by = None;
            let mut broken = None;
            for upper in self.above.iter().filter(|it| it.facts.subject_der == below.facts.issuer_der) {
                let der = upper.at.checked_sub(1).and_then(|at| chain.intermediates.get(at));
                let Some(der) = der.filter(|_| !used.contains(&upper.at)) else { continue };
                match chain.holds_below(&leaf, der, &climb.path) {
                    Err(webpki::Error::InvalidSignatureForPublicKey) => broken = broken.or(Some(upper)),
                    Err(_) => {}
                    Ok(()) => signed_by = signed_by.or(Some((upper, der))),
                }
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
    /// Whether the path holds if `upper` is taken for trusted.
    fn holds_below(
        &self,
        leaf: &EndEntityCert<'_>,
        upper: &CertificateDer<'_>,
        path: &[CertificateDer<'_>],
    ) -> Result<(), webpki::Error> {
        let anchor = [webpki::anchor_from_trusted_cert(upper)?];
        self.holds(leaf, &anchor, path)
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

/// How far a climb came.
pub(super) struct Climb<'a, 'w> {
    /// The certificates above the leaf, each of which signed the one before.
    pub(super) path: Vec<CertificateDer<'a>>,
    /// Whether one of them has more authorities below it than it allows.
    pub(super) too_long: bool,
    /// Where it went no further: a certificate, and one that has its issuer's name and did not sign it.
    pub(super) broken: Option<(&'w Certificate, &'w Certificate)>,
}
