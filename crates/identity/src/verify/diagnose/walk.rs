//! From the leaf upwards: which of the presented certificates have to do with it, whatever their order.
//!
//! By names alone. What cannot be read is passed over; webpki does the same while another path is left.

use std::collections::VecDeque;
use std::time::SystemTime;

use avouch_spiffe::Reason;
use avouch_spiffe::x509::Facts;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::{EndEntityCert, KeyUsage};

use super::super::path::unix_time;
use super::super::rejection::Rejection;
use super::with_sources;

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
            Rejection::new(Reason::CertMalformed, format!("leaf certificate: {}", with_sources(&error)))
        })?;
        let mut left: Vec<_> = intermediates
            .iter()
            .zip(1..)
            .filter_map(|(der, at)| Some(Certificate { at, facts: Facts::parse(der).ok()? }))
            .collect();
        let mut wanted = VecDeque::from([facts.issuer.clone()]);
        let mut above = Vec::new();
        while let Some(subject) = wanted.pop_front() {
            let (found, others) = left.into_iter().partition(|it| it.facts.subject == subject);
            let found: Vec<Certificate> = found;
            left = others;
            wanted.extend(found.iter().map(|it| it.facts.issuer.clone()));
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

    /// Where the walk ends.
    pub(super) fn last(&self) -> &Certificate {
        self.above.last().unwrap_or(&self.leaf)
    }

    pub(super) fn is_leaf_alone(&self) -> bool {
        self.above.is_empty()
    }

    /// The lowest two certificates of which the upper did not sign the lower. Only where each name is there once: of
    /// two namesakes either may be meant.
    pub(super) fn first_break(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        usage: KeyUsage,
        now: SystemTime,
    ) -> Option<(&Certificate, &Certificate)> {
        let mut below = &self.leaf;
        let mut between = Vec::new();
        let leaf = EndEntityCert::try_from(leaf).ok()?;
        for upper in &self.above {
            if upper.facts.subject != below.facts.issuer {
                return None;
            }
            let der = intermediates.get(upper.at.checked_sub(1)?)?;
            // The upper one as if it were trusted: everything else about the path was asked before.
            let anchor = [webpki::anchor_from_trusted_cert(der).ok()?];
            let verdict =
                leaf.verify_for_usage(algorithms, &anchor, &between, unix_time(now), usage, None, None);
            match verdict {
                Err(webpki::Error::InvalidSignatureForPublicKey) => return Some((below, upper)),
                Err(_) => return None,
                Ok(_) => {}
            }
            between.push(der.clone());
            below = upper;
        }
        None
    }
}
