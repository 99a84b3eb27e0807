//! PKITS 4.6: basic constraints, path length; 4.5: self-issued authorities.

use avouch_attacker::der::{sequence, tlv};
use avouch_attacker::forge::{Extension, ce};

use crate::world::{Case, judge, nothing, refused, taken};

const TOO_LONG: &str = "authorities are below it";
const SELF_ISSUED: &str = "webpki counts a self-issued authority, which RFC 5280 §4.2.1.9 does not";

fn length(length: u8) -> Extension {
    Extension::constraints(true, Some(length))
}

/// Basic constraints of a CA with these octets as path length.
fn octets(octets: &[u8]) -> Extension {
    Extension::ce(ce::BASIC_CONSTRAINTS, true, sequence(&[tlv(0x01, &[0xff]), tlv(0x02, octets)]))
}

const CASES: &[Case] = &[
    refused(
        "an authority without basic constraints",
        "CERT_UNTRUSTED",
        "intermediate certificate 1 (CN=an authority) that is no CA signed another",
        |w| w.below_changed(|ca| ca.remove(ce::BASIC_CONSTRAINTS)),
    ),
    refused("an authority that says it is none", "CERT_UNTRUSTED", "that is no CA signed another", |w| {
        w.below_changed(|ca| ca.set(Extension::constraints(false, None)))
    }),
    refused("an authority that says so without insisting", "CERT_UNTRUSTED", "that is no CA", |w| {
        w.below_changed(|ca| {
            ca.set(Extension { critical: false, ..Extension::constraints(false, None) });
        })
    }),
    refused(
        "basic constraints that are not critical",
        "CERT_UNTRUSTED",
        "intermediate certificate 1: the basic constraints are not marked critical",
        |w| w.below_changed(|ca| ca.set(Extension { critical: false, ..Extension::constraints(true, None) })),
    ),
    Case {
        verdict: crate::world::Verdict::NoBundle("is not a CA certificate"),
        ..refused("a root that says it is none", "", "", |w| {
            w.root_changed(|root| root.set(Extension::constraints(false, None)))
        })
    },
    taken("path length 0 and a leaf", |w| w.below_changed(|ca| ca.set(length(0)))),
    refused("path length 0 and an authority", "CERT_UNTRUSTED", TOO_LONG, |w| {
        let upper = w.authority(|ca| ca.set(length(0)))?;
        w.under(&[&upper, &w.below(&upper, "lower", nothing)?])
    }),
    refused("path length 0 and an authority that says 6", "CERT_UNTRUSTED", TOO_LONG, |w| {
        let upper = w.authority(|ca| ca.set(length(0)))?;
        w.under(&[&upper, &w.below(&upper, "lower", |ca| ca.set(length(6)))?])
    }),
    taken("path length 1 and an authority", |w| {
        let upper = w.authority(|ca| ca.set(length(1)))?;
        w.under(&[&upper, &w.below(&upper, "lower", |ca| ca.set(length(0)))?])
    }),
    refused("path length 1 and two authorities", "CERT_UNTRUSTED", TOO_LONG, |w| {
        let upper = w.authority(|ca| ca.set(length(1)))?;
        let middle = w.below(&upper, "middle", nothing)?;
        w.under(&[&upper, &middle, &w.below(&middle, "lower", nothing)?])
    }),
    refused("a shorter path length below a longer one", "CERT_UNTRUSTED", TOO_LONG, |w| {
        let upper = w.authority(|ca| ca.set(length(6)))?;
        let middle = w.below(&upper, "middle", |ca| ca.set(length(0)))?;
        w.under(&[&upper, &middle, &w.below(&middle, "lower", nothing)?])
    }),
    taken("a root of path length 0 and a leaf", |w| {
        let root = w.root("another root", |root| root.set(length(0)))?;
        Ok(w.leaf(&root, &[], nothing)?.trusting(&[&root]))
    }),
    refused(
        "a root of path length 0 and an authority",
        "CERT_UNTRUSTED",
        "trust anchor (CN=another root) has the path length 0, and 1 authorities are below it",
        |w| w.root_changed(|root| root.set(length(0))),
    ),
    taken("a root of path length 1 and an authority", |w| w.root_changed(|root| root.set(length(1)))),
    taken("a path length of 300", |w| w.root_changed(|root| root.set(octets(&[0x01, 0x2c])))),
    refused("a negative path length", "CERT_MALFORMED", "", |w| {
        w.below_changed(|ca| ca.set(octets(&[0xff])))
    }),
    refused("a path length of 300 in an authority", "CERT_MALFORMED", "", |w| {
        w.below_changed(|ca| ca.set(octets(&[0x01, 0x2c])))
    })
    .openssl_differs("webpki reads one octet; the limit on a chain's depth is far below"),
    refused("basic constraints with something behind", "CERT_MALFORMED", "", |w| {
        w.below_changed(|ca| {
            let mut twice = Extension::constraints(true, None);
            twice.value.extend([5, 0]);
            ca.set(twice);
        })
    })
    .openssl_differs("it overlooks what follows a value"),
    taken("a self-issued authority with a new key", |w| {
        let next = w.below(&w.signing, "", |ca| ca.subject.clone_from(&w.signing.name))?;
        w.under(&[&w.signing, &next])
    }),
    refused("a self-issued authority below path length 0", "CERT_UNTRUSTED", TOO_LONG, |w| {
        let old = w.authority(|ca| ca.set(length(0)))?;
        let new = w.below(&old, "", |ca| ca.subject.clone_from(&old.name))?;
        w.under(&[&old, &new])
    })
    .openssl_differs(SELF_ISSUED),
];

#[tokio::test]
async fn pkits_4_6_basic_constraints() {
    judge(CASES).await;
}
