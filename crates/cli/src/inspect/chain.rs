//! How the certificates of a chain stand to one another, item by item, and to a bundle if there is one.

use super::checks::{Check, check};
use super::signature;
use avouch_identity::{ChainLimits, IdentityFilter, TrustStore};
use avouch_spiffe::x509::{CertificateInfo, NameViolation, leaf_first};
use avouch_text::shorten;
use avouch_time::{relative, rfc3339};
use rustls::pki_types::CertificateDer;
use std::time::SystemTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The items of a chain. Nothing for less than a leaf with one above it.
pub(crate) fn checks(ders: &[Vec<u8>], now: SystemTime) -> Vec<Check> {
    let mut chain: Vec<Link<'_>> =
        ders.iter().enumerate().filter_map(|(at, der)| Link::of(at, der)).collect();
    if chain.len() != ders.len() || chain.len() < 2 {
        return Vec::new(); // what cannot be read is said of the certificate itself
    }
    let better = leaf_first(ders);
    if better.is_none() && chain.first().is_none_or(|first| first.info.ca) {
        return Vec::new(); // authorities side by side
    }
    // Out of order, it is judged as what it was meant to be.
    let wrong_order = order_problem(ders);
    if let Some(order) = better {
        chain.sort_by_key(|link| {
            order.iter().position(|place| link.number == place + 1).unwrap_or(usize::MAX)
        });
        chain.truncate(order.len());
    }
    let each = |found: fn(&Link<'_>, &Link<'_>) -> Option<String>| {
        let pairs = chain.iter().zip(chain.iter().skip(1));
        pairs.filter_map(|(below, above)| found(below, above)).reduce(|all, one| format!("{all}; {one}"))
    };
    vec![
        check(
            "AV-031",
            "RFC 8446 4.4.2",
            "each certificate is followed by the one that signed it",
            wrong_order.or_else(|| each(order)),
        ),
        check("AV-032", "RFC 5280 4.2.1.1", "key identifiers link each to the one above", each(key_ids)),
        check("AV-033", "RFC 5280 6.1.3", "each signature is by the key above", each(signed)),
        check("AV-034", "RFC 5280 6.1.3", "all are valid now", dates(&chain, now)),
        check("AV-035", "RFC 5280 4.2.1.9", "path lengths allow the chain", path_lengths(&chain)),
        check("AV-036", "avouch", "none outlives the one above", each(outlives)),
        check("AV-037", "RFC 5280 4.2.1.10", "name constraints allow every name below", constraints(&chain)),
        check("AV-039", "avouch", "no longer than a listener takes", limits(&chain)),
    ]
}

/// The problem with the order of a chain, and the order that it should have.
pub(crate) fn order_problem(ders: &[impl AsRef<[u8]>]) -> Option<String> {
    let order = leaf_first(ders)?;
    let name = |place: usize| {
        let info = CertificateInfo::parse_any_version(ders.get(place)?.as_ref()).ok()?;
        Some(shorten(info.uris.first().unwrap_or(&info.subject)))
    };
    let numbers: Vec<_> = order.iter().map(|place| (place + 1).to_string()).collect();
    let leaf = *order.first()?;
    let what = match leaf {
        0 => "an authority is not behind the certificate that it signed".to_owned(),
        _ => format!(
            "the intermediate ({}) is before the leaf ({}), and the leaf must come first",
            name(0)?,
            name(leaf)?
        ),
    };
    Some(match numbers.as_slice() {
        [only] => format!("{what}; write number {only} into a file of its own, and what signed it behind it"),
        all => format!("{what}; write the certificates in the order {}", all.join(", ")),
    })
}

/// The item of a chain against roots: the verdict of the verifier itself.
pub(crate) fn against(trust: &TrustStore, ders: &[Vec<u8>], now: SystemTime) -> Check {
    let chain: Vec<_> = ders.iter().map(|der| CertificateDer::from_slice(der)).collect();
    let verdict = trust.verify_server(&chain, &IdentityFilter::any_trusted(), now);
    let found = verdict.err().map(|rejection| rejection.to_string());
    check("AV-038", "X509-SVID 5.1", "the bundle vouches for it", found)
}

/// A certificate of a chain, with its number from 1, as people count.
struct Link<'a> {
    number: usize,
    der: &'a [u8],
    info: CertificateInfo,
    spki: Vec<u8>,
}

impl<'a> Link<'a> {
    fn of(at: usize, der: &'a [u8]) -> Option<Self> {
        let info = CertificateInfo::parse_any_version(der).ok()?;
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self { number: at + 1, der, info, spki: certificate.tbs_certificate.subject_pki.raw.to_vec() })
    }
}

fn order(below: &Link<'_>, above: &Link<'_>) -> Option<String> {
    (below.info.issuer_der != above.info.subject_der).then(|| {
        let (number, issuer, found) = (below.number, &below.info.issuer, &above.info.subject);
        format!("{number} was issued by {issuer}, and {} is {found}", above.number)
    })
}

fn key_ids(below: &Link<'_>, above: &Link<'_>) -> Option<String> {
    match (&below.info.authority_key_id, &above.info.subject_key_id) {
        (Some(wanted), Some(found)) if wanted != found => {
            Some(format!("{} names key {wanted}, {} has {found}", below.number, above.number))
        }
        (None, _) => Some(format!("{} names no key of its authority", below.number)),
        (_, None) => Some(format!("{} has no key identifier", above.number)),
        _ => None,
    }
}

fn signed(below: &Link<'_>, above: &Link<'_>) -> Option<String> {
    signature::verify(below.der, &above.spki).err().map(|error| format!("{}: {error}", below.number))
}

fn outlives(below: &Link<'_>, above: &Link<'_>) -> Option<String> {
    (below.info.not_after > above.info.not_after).then(|| {
        let (end, before) = (rfc3339(below.info.not_after), rfc3339(above.info.not_after));
        format!("{} ends {end}, {} before it, {before}", below.number, above.number)
    })
}

fn dates(chain: &[Link<'_>], now: SystemTime) -> Option<String> {
    let wrong = chain.iter().filter_map(|link| {
        if now < link.info.not_before {
            Some(format!("{} starts {}", link.number, relative(link.info.not_before, now)))
        } else if now > link.info.not_after {
            Some(format!("{} expired {}", link.number, relative(link.info.not_after, now)))
        } else {
            None
        }
    });
    wrong.reduce(|all, one| format!("{all}; {one}"))
}

/// The first name that an authority's constraints do not allow, of the nearest below it first.
fn constraints(chain: &[Link<'_>]) -> Option<String> {
    let above = chain.iter().enumerate().skip(1);
    let mut found = above.filter_map(|(at, above)| {
        let below = chain.iter().take(at);
        below.rev().find_map(|below| {
            let violation = NameViolation::find(above.der, below.der)?;
            Some(format!("{}: {} {violation}", below.number, above.number))
        })
    });
    found.next()
}

/// The chain with its root, which need not be presented.
fn limits(chain: &[Link<'_>]) -> Option<String> {
    let allowed = ChainLimits::default().max_depth;
    let is_root = |link: &Link<'_>| link.info.subject_der == link.info.issuer_der;
    let presented = chain.len() - usize::from(chain.last().is_some_and(is_root));
    (presented > allowed).then(|| format!("{presented} certificates without a root, and {allowed} are taken"))
}

/// A certificate that allows `n` may have `n` authorities below it; those issued by themselves do not count.
fn path_lengths(chain: &[Link<'_>]) -> Option<String> {
    let mut below = 0_u32;
    let mut wrong = Vec::new();
    for link in chain.iter().skip(1) {
        if let Some(allowed) = link.info.path_len.filter(|allowed| *allowed < below) {
            wrong.push(format!("{} allows {allowed} authorities below it, there are {below}", link.number));
        }
        if link.info.subject_der != link.info.issuer_der {
            below += 1;
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}
