//! RFC 4158: building a path where there is more than one, or more than a path needs.

use avouch_attacker::forge::{Authority, Extension, usage};

use crate::world::{Case, World, judge, nothing, refused, taken, tampered};

/// Two certificates for one authority below the root, of which one is changed; presented in this order or the other.
fn two_ways(
    w: &World,
    good_first: bool,
    change: impl FnOnce(&mut avouch_attacker::forge::Draft),
) -> Result<crate::world::Shown, avouch_attacker::Error> {
    let authority = w.authority(nothing)?;
    let other = w.cross(&w.root, &authority, change)?;
    let both: [&[u8]; 2] = if good_first { [&authority.der, &other] } else { [&other, &authority.der] };
    w.leaf(&authority, &both, nothing)
}

/// Authorities with one name and two keys, of which the first signs the leaf.
fn namesakes(w: &World) -> Result<(Authority, Authority), avouch_attacker::Error> {
    let first = w.authority(nothing)?;
    let second = w.authority(|ca| ca.subject.clone_from(&first.name))?;
    Ok((first, second))
}

const NO_WAY_BACK: &str = "openssl takes the first certificate that fits and does not come back for the next";

const CASES: &[Case] = &[
    taken("two ways, the good one first", |w| two_ways(w, true, |ca| ca.not_after = w.now - 60)),
    taken("two ways, the expired one first", |w| two_ways(w, false, |ca| ca.not_after = w.now - 60)),
    taken("two ways, the one that may not sign first", |w| {
        two_ways(w, false, |ca| ca.set(Extension::key_usage(usage::CRL_SIGN)))
    })
    .openssl_differs(NO_WAY_BACK),
    taken("two ways, the one of a negative serial number first", |w| {
        two_ways(w, false, |ca| ca.serial = vec![0x80])
    }),
    taken("two ways, the one with an unknown critical extension first", |w| {
        two_ways(w, false, |ca| ca.set(Extension::unheard_of(true, 1)))
    })
    .openssl_differs(NO_WAY_BACK),
    refused("two ways, both closed", "CERT_UNTRUSTED", "lacks keyCertSign", |w| {
        let authority = w.authority(|ca| ca.set(Extension::key_usage(usage::CRL_SIGN)))?;
        let other = w.cross(&w.root, &authority, |ca| ca.set(Extension::key_usage(usage::CRL_SIGN)))?;
        w.leaf(&authority, &[&authority.der, &other], nothing)
    }),
    taken("cross-signed by a root that nobody trusts", |w| {
        let elsewhere = w.root("a root elsewhere", nothing)?;
        let authority = w.authority(nothing)?;
        let cross = w.cross(&elsewhere, &authority, nothing)?;
        w.leaf(&authority, &[&cross, &authority.der], nothing)
    })
    .openssl_differs(NO_WAY_BACK),
    refused("cross-signed only by a root that nobody trusts", "CERT_UNTRUSTED", "CN=a root elsewhere", |w| {
        let elsewhere = w.root("a root elsewhere", nothing)?;
        let cross = w.cross(&elsewhere, &w.signing, nothing)?;
        w.leaf(&w.signing, &[&cross], nothing)
    }),
    taken("a bridge between two hierarchies", |w| {
        let bridge = w.below(&w.root, "the bridge", nothing)?;
        let elsewhere = w.root("a root elsewhere", nothing)?;
        let cross = w.cross(&bridge, &elsewhere, nothing)?;
        let authority = w.below(&elsewhere, "an authority elsewhere", nothing)?;
        w.leaf(&authority, &[&authority.der, &cross, &bridge.der], nothing)
    }),
    taken("two authorities of one name, the right one first", |w| {
        let (right, other) = namesakes(w)?;
        w.leaf(&right, &[&right.der, &other.der], nothing)
    }),
    taken("two authorities of one name, the wrong one first", |w| {
        let (right, other) = namesakes(w)?;
        w.leaf(&right, &[&other.der, &right.der], nothing)
    }),
    refused(
        "two authorities of one name, and neither signed it",
        "CERT_SIGNATURE_INVALID",
        "leaf certificate",
        |w| {
            let (right, other) = namesakes(w)?;
            let third = w.authority(nothing)?;
            w.leaf(&third, &[&right.der, &other.der], nothing)
        },
    ),
    taken("certificates in the wrong order", |w| {
        let upper = w.below(&w.root, "upper", nothing)?;
        let lower = w.below(&upper, "lower", nothing)?;
        w.leaf(&lower, &[&upper.der, &lower.der], nothing)
    }),
    refused("a leaf that does not come first", "SVID_INVALID", "the leaf certificate is a CA", |w| {
        let mut shown = w.changed(nothing)?;
        shown.chain.swap(0, 1);
        Ok(shown)
    }),
    taken("the root presented too", |w| w.leaf(&w.signing, &[&w.signing.der, &w.root.der], nothing)),
    taken("the same authority twice", |w| w.leaf(&w.signing, &[&w.signing.der, &w.signing.der], nothing)),
    taken("five certificates", |w| {
        let first = w.below(&w.root, "1", nothing)?;
        let second = w.below(&first, "2", nothing)?;
        let third = w.below(&second, "3", nothing)?;
        w.under(&[&first, &second, &third, &w.below(&third, "4", nothing)?])
    }),
    refused("six certificates", "CERT_CHAIN_TOO_DEEP", "6 certificates presented, 5 allowed", |w| {
        let others = [nothing; 4].map(|change| w.root("somebody else", change));
        let [a, b, c, d] = others;
        let (a, b, c, d) = (a?, b?, c?, d?);
        w.leaf(&w.signing, &[&w.signing.der, &a.der, &b.der, &c.der, &d.der], nothing)
    })
    .openssl_differs("the limit is avouch's"),
    refused(
        "two authorities that signed one another",
        "CERT_UNTRUSTED",
        "which is not a trust anchor",
        |w| {
            let one = w.root("one", nothing)?;
            let other = w.below(&one, "the other", nothing)?;
            let round = w.cross(&other, &one, nothing)?;
            w.leaf(&other, &[&other.der, &round], nothing)
        },
    ),
    refused("namesakes all the way", "CERT_CHAIN_TOO_DEEP", "4 authorities are named CN=one name", |w| {
        let elsewhere = w.root("one name", nothing)?;
        let second = w.below(&elsewhere, "one name", nothing)?;
        let third = w.below(&second, "one name", nothing)?;
        let fourth = w.below(&third, "one name", nothing)?;
        w.leaf(&fourth, &[&elsewhere.der, &second.der, &third.der, &fourth.der], nothing)
    }),
];

const EXTRAS: &[Case] = &[
    taken("an unrelated certificate", |w| {
        let other = w.root("somebody else", nothing)?;
        w.leaf(&w.signing, &[&other.der, &w.signing.der], nothing)
    }),
    taken("an unrelated certificate that has expired", |w| {
        let other = w.root("somebody else", |ca| ca.not_after = w.now - 60)?;
        w.leaf(&w.signing, &[&other.der, &w.signing.der], nothing)
    }),
    taken("an unrelated certificate with a weak key", |w| {
        let other = w.root("somebody else", |ca| ca.spki = avouch_attacker::forge::rsa_spki(1024))?;
        w.leaf(&w.signing, &[&w.signing.der, &other.der], nothing)
    }),
    taken("an unrelated certificate that may not sign", |w| {
        let other = w.root("somebody else", |ca| ca.set(Extension::key_usage(usage::CRL_SIGN)))?;
        w.leaf(&w.signing, &[&w.signing.der, &other.der], nothing)
    }),
    taken("an unrelated certificate of version 1", |w| {
        let other = w.root("somebody else", |ca| ca.version = 1)?;
        w.leaf(&w.signing, &[&other.der, &w.signing.der], nothing)
    }),
    refused(
        "an unrelated expired one beside an unknown issuer",
        "CHAIN_INCOMPLETE",
        "signing authority",
        |w| {
            let other = w.root("somebody else", |ca| ca.not_after = w.now - 60)?;
            w.leaf(&w.signing, &[&other.der], nothing)
        },
    ),
    refused(
        "an unrelated weak key beside a bad signature",
        "CERT_SIGNATURE_INVALID",
        "leaf certificate was not signed by the key of intermediate certificate 2",
        |w| {
            let other = w.root("somebody else", |ca| ca.spki = avouch_attacker::forge::rsa_spki(1024))?;
            let mut shown = w.leaf(&w.signing, &[&other.der, &w.signing.der], nothing)?;
            shown.chain[0] = tampered(&shown.chain[0]);
            Ok(shown)
        },
    ),
    refused("an unrelated expired one beside an expired leaf", "CERT_EXPIRED", "leaf certificate", |w| {
        let other = w.root("somebody else", |ca| ca.not_after = w.now - 60)?;
        w.leaf(&w.signing, &[&other.der, &w.signing.der], |leaf| leaf.not_after = w.now - 60)
    }),
];

/// A root and its successor of the same name with another key, and an authority below the successor.
fn successor(w: &World) -> Result<(Authority, Authority), avouch_attacker::Error> {
    let next = w.root("the root", nothing)?;
    let authority = w.below(&next, "an authority of the next root", nothing)?;
    Ok((next, authority))
}

/// The root again with the same key, in a certificate of its own.
fn again(
    w: &World,
    change: impl FnOnce(&mut avouch_attacker::forge::Draft),
) -> Result<Vec<u8>, avouch_attacker::Error> {
    w.cross(&w.root, &w.root, change)
}

const ROLLOVER: &[Case] = &[
    taken("two roots of one name, a leaf of the old one", |w| {
        let (next, _) = successor(w)?;
        Ok(w.changed(nothing)?.trusting(&[&next, &w.root]))
    }),
    taken("two roots of one name, a leaf of the new one", |w| {
        let (next, authority) = successor(w)?;
        Ok(w.under(&[&authority])?.trusting(&[&w.root, &next]))
    }),
    refused(
        "the new root is not in the bundle yet",
        "CERT_UNTRUSTED",
        "not signed by the trusted CN=the root",
        |w| {
            let (_, authority) = successor(w)?;
            w.under(&[&authority])
        },
    ),
    refused("the old root is no longer in the bundle", "CERT_UNTRUSTED", "not signed by the trusted", |w| {
        let (next, _) = successor(w)?;
        Ok(w.changed(nothing)?.trusting(&[&next]))
    }),
    taken("the new root, signed by the old one", |w| {
        let (next, authority) = successor(w)?;
        let linked = w.cross(&w.root, &next, nothing)?;
        w.leaf(&authority, &[&authority.der, &linked], nothing)
    }),
    taken("the old root, signed by the new one", |w| {
        let (next, _) = successor(w)?;
        let linked = w.cross(&next, &w.root, nothing)?;
        Ok(w.leaf(&w.signing, &[&w.signing.der, &linked], nothing)?.trusting(&[&next]))
    }),
    refused(
        "one root of two has expired, and the leaf is of neither",
        "CERT_UNTRUSTED",
        "not signed by the trusted",
        |w| {
            let expired = w.root("the root", |root| root.not_after = w.now - 60)?;
            let (_, authority) = successor(w)?;
            Ok(w.under(&[&authority])?.trusting(&[&expired, &w.root]))
        },
    ),
    taken("one certificate of the root's key has expired, the other has not", |w| {
        let mut shown = w.changed(nothing)?;
        shown.roots.insert(0, again(w, |root| root.not_after = w.now - 60)?);
        Ok(shown)
    }),
    refused(
        "both certificates of the root's key have expired",
        "CERT_EXPIRED",
        "trust anchor (CN=the root)",
        |w| {
            let mut shown = w.changed(nothing)?;
            shown.roots = vec![
                again(w, |root| root.not_after = w.now - 60)?,
                again(w, |root| root.not_after = w.now - 70)?,
            ];
            Ok(shown)
        },
    ),
    refused("an empty bundle", "CERT_UNTRUSTED", "CN=the root, which is not a trust anchor", |w| {
        Ok(w.changed(nothing)?.trusting(&[]))
    }),
];

#[tokio::test]
async fn of_several_paths_a_good_one_is_found_and_no_bad_one() {
    judge(CASES).await;
}

#[tokio::test]
async fn what_is_presented_beside_the_path_neither_helps_nor_hurts_nor_is_blamed() {
    judge(EXTRAS).await;
}

#[tokio::test]
async fn roots_roll_over_under_one_name() {
    judge(ROLLOVER).await;
}
