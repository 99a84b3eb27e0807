//! A presented chain → an identity. The input is certificates, one after the other, leaf first.
//!
//! It is judged as it is, against a root that is fixed, and again with its content signed by live authorities. Whatever
//! is accepted must be an SVID by a second reading and lead, signature by signature, to a root of its own trust domain.

use avouch_identity::spiffe::x509::{Authority, CertificateInfo};
use rustls::pki_types::CertificateDer;

use super::Outcome;
use crate::der;
use crate::oracle::{Certificate, tbs_elements};
use crate::world::{self, World, now, world};

/// A stranger's certificate may not fill a log.
const LONGEST_DETAIL: usize = 4096;

pub(super) fn run(data: &[u8]) -> Outcome {
    let world = world();
    let presented = split(data);
    for variant in signed_again(world, &presented) {
        judge(world, &variant);
    }
    for der in &presented {
        look_at(der);
    }
    judge(world, &presented)
}

/// The elements that the input begins with, and the rest of it as one more.
pub(super) fn split(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let (element, rest) = der::first(data).map_or((data, &[][..]), |(element, rest)| (element.raw, rest));
        found.push(element.to_vec());
        data = rest;
    }
    found
}

/// The leaf's content signed by the live authority, below that authority and, if there was an intermediate, below
/// the intermediate's content with the live authority's key in it, signed by the live root.
fn signed_again(world: &World, presented: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let Some(tbs) = presented.first().and_then(|leaf| tbs_of(leaf)) else { return Vec::new() };
    let leaf = world.authority.sign(tbs);
    let mut variants = vec![vec![leaf.clone(), world.authority.der.clone()]];
    let intermediate = presented.get(1).and_then(|der| tbs_of(der));
    if let Some(tbs) = intermediate.and_then(|tbs| with_key(tbs, &world.authority.key.spki)) {
        variants.push(vec![leaf, world.root.sign(&tbs)]);
    }
    variants
}

fn tbs_of(certificate: &[u8]) -> Option<&[u8]> {
    let (outer, _) = der::first(certificate)?;
    der::first(outer.value).map(|(tbs, _)| tbs.raw)
}

/// A `TBSCertificate` with another key.
pub(super) fn with_key(tbs: &[u8], spki: &[u8]) -> Option<Vec<u8>> {
    let elements = tbs_elements(tbs)?;
    let raw = |(at, element): (usize, &der::Tlv<'_>)| {
        if at == 6 { spki.to_vec() } else { element.raw.to_vec() }
    };
    let parts: Vec<u8> = elements.iter().enumerate().flat_map(raw).collect();
    Some(der::tlv(der::SEQUENCE, &parts))
}

fn judge(world: &World, chain: &[Vec<u8>]) -> Outcome {
    let presented: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let verdict = world.trust.verify(&presented, Some(&world::domain()), now());
    match &verdict {
        Ok(peer) => assert_svid(world, chain, peer.spiffe_id().as_str()),
        Err(rejection) => {
            let detail = rejection.detail();
            assert!(!detail.is_empty() && !detail.contains(char::is_control), "{detail:?}");
            assert!(detail.len() <= LONGEST_DETAIL, "{} octets of detail", detail.len());
        }
    }
    Outcome::from(&verdict)
}

/// Panics unless the second reading, too, finds an SVID of this identity with a path to a root.
pub(super) fn assert_svid(world: &World, chain: &[Vec<u8>], spiffe_id: &str) {
    // Whatever else was presented is nobody's business (RFC 8446 4.4.2), as long as the path does without it.
    let mut read = chain.iter().map(|der| Certificate::read(der));
    let leaf = read.next().flatten();
    assert!(leaf.is_some(), "{spiffe_id} of a leaf that a second reading cannot read");
    let Some(leaf) = leaf else { return };
    let rest: Vec<_> = read.flatten().collect();
    assert_eq!(leaf.no_svid_of(spiffe_id, now()), None, "{spiffe_id}");
    let domain = spiffe_id.split('/').nth(2).unwrap_or_default();
    let anchors = world.anchors.iter().filter(|(name, _)| *name == domain);
    let anchors: Vec<_> = anchors.filter_map(|(_, der)| Certificate::read(der)).collect();
    assert!(has_path(&leaf, &rest, &anchors, 0), "{spiffe_id} without a path to a root of {domain}");
}

/// Whether signatures lead from `subject` to an anchor, over authorities that may sign.
fn has_path(
    subject: &Certificate<'_>,
    presented: &[Certificate<'_>],
    anchors: &[Certificate<'_>],
    below: u64,
) -> bool {
    let signs = |signer: &&Certificate<'_>| {
        signer.subject == subject.issuer
            && subject.is_signed_by(signer.spki)
            && signer.no_authority(below, now()).is_none()
    };
    anchors.iter().any(|anchor| signs(&anchor))
        || (below < 8
            && presented.iter().filter(signs).any(|signer| has_path(signer, presented, anchors, below + 1)))
}

/// What messages and bundles make of a certificate.
fn look_at(der: &[u8]) {
    if let Ok(facts) = CertificateInfo::parse(der) {
        let printed = [&facts.subject, &facts.issuer, &facts.serial, &facts.key_algorithm];
        let mut printed = printed.into_iter().chain(&facts.uris).chain(&facts.dns).chain(&facts.ips);
        assert!(printed.all(|text| !text.contains(char::is_control)), "{facts:?}");
    }
    if let Ok(authority) = Authority::parse(der) {
        assert!(authority.not_before() <= authority.not_after());
        assert_eq!(authority.der(), der);
    }
}
