//! PKITS 4.3: name chaining; 4.13: name constraints.
//!
//! webpki compares names octet by octet. RFC 5280 §7.1 would take more for equal, as PKITS does; whoever issues writes
//! an issuer's name as the issuer's certificate does, so nothing real is lost.

use avouch_attacker::der::{self, oid, sequence, tlv};
use avouch_attacker::forge::{Draft, Extension, ce};

use crate::world::{Case, ID, World, judge, nothing, refused, taken};

const EQUAL_OCTETS: &str = "names are equal when their octets are";

fn attribute(last: u8, tag: u8, text: &str) -> Vec<u8> {
    tlv(0x31, &sequence(&[oid(&[0x55, 4, last]), tlv(tag, text.as_bytes())]))
}

/// A leaf whose issuer is written as `issuer`, signed by an authority whose subject is `subject`.
fn written(
    w: &World,
    subject: Vec<u8>,
    issuer: Vec<u8>,
) -> Result<crate::world::Shown, avouch_attacker::Error> {
    let mut authority = w.authority(|ca| ca.subject = subject)?;
    authority.name = issuer;
    w.under(&[&authority])
}

const CHAINING: &[Case] = &[
    refused(
        "another issuer's name",
        "CHAIN_INCOMPLETE",
        "was signed by CN=somebody else, which was not presented",
        |w| written(w, der::name("somebody"), der::name("somebody else")),
    ),
    refused("the parts of the name in another order", "CHAIN_INCOMPLETE", "CN=somebody", |w| {
        let parts = [attribute(10, 0x0c, "market"), attribute(3, 0x0c, "somebody")];
        let [first, second] = parts.clone();
        written(w, sequence(&parts), sequence(&[second, first]))
    }),
    refused("a part less", "CHAIN_INCOMPLETE", "was signed by CN=somebody, which was not presented", |w| {
        written(
            w,
            sequence(&[attribute(10, 0x0c, "market"), attribute(3, 0x0c, "somebody")]),
            der::name("somebody"),
        )
    }),
    refused("more white space", "CHAIN_INCOMPLETE", "", |w| {
        written(w, der::name("a certificate authority"), der::name("a  certificate authority "))
    })
    .openssl_differs(EQUAL_OCTETS),
    refused("capital letters", "CHAIN_INCOMPLETE", "", |w| {
        written(w, der::name("a certificate authority"), der::name("A Certificate Authority"))
    })
    .openssl_differs(EQUAL_OCTETS),
    refused("a PrintableString for a UTF8String", "CHAIN_INCOMPLETE", "", |w| {
        written(w, der::name("authority"), sequence(&[attribute(3, 0x13, "authority")]))
    })
    .openssl_differs(EQUAL_OCTETS),
    refused("a name that goes on after a zero octet", "CHAIN_INCOMPLETE", "", |w| {
        written(w, der::name("authority\0.evil"), der::name("authority"))
    }),
    taken("a name of many parts", |w| {
        let name =
            sequence(&[attribute(6, 0x13, "DE"), attribute(10, 0x0c, "Märkte"), attribute(3, 0x0c, "ca")]);
        written(w, name.clone(), name)
    }),
    taken("an empty name", |w| {
        let authority = w.authority(|ca| ca.subject = der::name(""))?;
        w.under(&[&authority])
    })
    .openssl_differs("RFC 5280 §4.1.2.6 wants names of CAs not to be empty; they chain all the same"),
    refused("the issuer's key, and a name of its own", "CHAIN_INCOMPLETE", "CN=the root of all evil", |w| {
        let mut shown = w.under(&[])?;
        let key = avouch_attacker::forge::Key::generate()?;
        let draft = Draft::svid(ID, &key, w.now);
        shown.chain = vec![draft.signed_as(&der::name("the root of all evil"), &w.root.key)?];
        shown.key = key;
        Ok(shown)
    }),
];

#[tokio::test]
async fn pkits_4_3_name_chaining() {
    judge(CHAINING).await;
}

/// Name constraints: subtrees of one kind, permitted (0) or excluded (1).
fn subtree(which: u8, base: Vec<u8>) -> Extension {
    let subtrees = tlv(0xa0 | which, &sequence(&[base]));
    Extension::ce(ce::NAME_CONSTRAINTS, true, tlv(0x30, &subtrees))
}

fn dns_subtree(which: u8, name: &str) -> Extension {
    subtree(which, tlv(0x82, name.as_bytes()))
}

fn named(leaf: &mut Draft, dns: &str) {
    let names = [tlv(0x86, ID.as_bytes()), tlv(0x82, dns.as_bytes())];
    leaf.set(Extension::ce(ce::SAN, true, sequence(&names)));
}

/// A leaf with a DNS name beside its ID, below an authority with a constraint.
fn constrained(
    w: &World,
    constraint: Extension,
    dns: &str,
) -> Result<crate::world::Shown, avouch_attacker::Error> {
    let authority = w.authority(|ca| ca.set(constraint))?;
    w.leaf(&authority, &[&authority.der], |leaf| named(leaf, dns))
}

const URI_IS_UNKNOWN: &str = "webpki knows no constraints on URIs and refuses every certificate that has one";
const UNSUPPORTED: &str =
    "webpki refuses every name of a kind it does not know where that kind is constrained";

/// A leaf that has these names beside its ID.
fn with_names(
    w: &World,
    constraint: Extension,
    others: &[Vec<u8>],
) -> Result<crate::world::Shown, avouch_attacker::Error> {
    let authority = w.authority(|ca| ca.set(constraint))?;
    let names = [&[tlv(0x86, ID.as_bytes())], others].concat();
    w.leaf(&authority, &[&authority.der], |leaf| leaf.set(Extension::ce(ce::SAN, true, sequence(&names))))
}

const SUBNET: &[u8] = &[192, 0, 2, 0, 255, 255, 255, 0];

const CONSTRAINTS: &[Case] = &[
    taken("a DNS name that is permitted", |w| {
        constrained(w, dns_subtree(0, "market.example"), "payments.market.example")
    }),
    refused(
        "a DNS name that is not permitted",
        "CERT_UNTRUSTED",
        "leaf certificate: name constraint violated: intermediate certificate 1 (CN=an authority) permits only the \
         DNS name \"market.example\" (RFC 5280 4.2.1.10), and the name is \"payments.evil.example\"",
        |w| constrained(w, dns_subtree(0, "market.example"), "payments.evil.example"),
    ),
    refused(
        "a DNS name that ends alike",
        "CERT_UNTRUSTED",
        "the name is \"blackmarket.example\"",
        |w| constrained(w, dns_subtree(0, "market.example"), "blackmarket.example"),
    ),
    refused(
        "a DNS name that is excluded",
        "CERT_UNTRUSTED",
        "intermediate certificate 1 (CN=an authority) excludes the DNS name \"market.example\" (RFC 5280 4.2.1.10), \
         and the name is \"payments.market.example\"",
        |w| constrained(w, dns_subtree(1, "market.example"), "payments.market.example"),
    ),
    taken("a DNS name beside an excluded one", |w| {
        constrained(w, dns_subtree(1, "evil.example"), "payments.market.example")
    }),
    taken("a DNS name in capital letters that is permitted", |w| {
        constrained(w, dns_subtree(0, "MARKET.example"), "payments.Market.example")
    }),
    refused("a constraint that is not critical and is violated", "CERT_UNTRUSTED", "excludes the DNS name", |w| {
        let constraint = Extension { critical: false, ..dns_subtree(1, "market.example") };
        constrained(w, constraint, "payments.market.example")
    }),
    refused(
        "a constraint two levels above",
        "CERT_UNTRUSTED",
        "leaf certificate: name constraint violated: intermediate certificate 2 (CN=an authority) excludes",
        |w| {
            let upper = w.authority(|ca| ca.set(dns_subtree(1, "market.example")))?;
            let lower = w.below(&upper, "lower", nothing)?;
            w.leaf(&lower, &[&lower.der, &upper.der], |leaf| named(leaf, "payments.market.example"))
        },
    ),
    refused(
        "a constraint that the name of an authority violates",
        "CERT_UNTRUSTED",
        "intermediate certificate 1: name constraint violated: intermediate certificate 2 (CN=an authority) excludes",
        |w| {
            let upper = w.authority(|ca| ca.set(dns_subtree(1, "market.example")))?;
            let lower = w.below(&upper, "lower", |ca| ca.set(Extension::dns("ca.market.example")))?;
            w.under(&[&upper, &lower])
        },
    ),
    refused(
        "a constraint of the root",
        "CERT_UNTRUSTED",
        "leaf certificate: name constraint violated: trust anchor (CN=another root) excludes the DNS name \"market.example\"",
        |w| {
            let root = w.root("another root", |root| root.set(dns_subtree(1, "market.example")))?;
            let shown = w.leaf(&root, &[], |leaf| named(leaf, "payments.market.example"))?;
            Ok(shown.trusting(&[&root]))
        },
    ),
    taken("a constraint on what the leaf does not have", |w| {
        w.below_changed(|ca| ca.set(dns_subtree(0, "market.example")))
    }),
    taken("an IP address that is permitted", |w| {
        with_names(w, subtree(0, tlv(0x87, SUBNET)), &[tlv(0x87, &[192, 0, 2, 7])])
    }),
    refused(
        "an IP address that is not permitted",
        "CERT_UNTRUSTED",
        "permits only the IP address \"192.0.2.0/24\" (RFC 5280 4.2.1.10), and the name is \"192.0.3.7\"",
        |w| with_names(w, subtree(0, tlv(0x87, SUBNET)), &[tlv(0x87, &[192, 0, 3, 7])]),
    ),
    refused(
        "a URI that is permitted",
        "CERT_UNTRUSTED",
        "permits only the URI \"market.example\" (RFC 5280 4.2.1.10), and the name is \
         \"spiffe://market.example/payments\"; constraints of this kind are refused, met or not",
        |w| w.below_changed(|ca| ca.set(subtree(0, tlv(0x86, b"market.example")))),
    )
    .openssl_differs(URI_IS_UNKNOWN),
    refused("a URI that is not excluded", "CERT_UNTRUSTED", "excludes the URI \"evil.example\"", |w| {
        w.below_changed(|ca| ca.set(subtree(1, tlv(0x86, b"evil.example"))))
    })
    .openssl_differs(URI_IS_UNKNOWN),
    refused("a URI that is excluded", "CERT_UNTRUSTED", "excludes the URI \"market.example\"", |w| {
        w.below_changed(|ca| ca.set(subtree(1, tlv(0x86, b"market.example"))))
    }),
    refused("a constraint that would clear the screen", "CERT_UNTRUSTED", "the URI \"\\1b[2J\\0aok\"", |w| {
        w.below_changed(|ca| ca.set(subtree(0, tlv(0x86, b"\x1b[2J\nok"))))
    }),
    refused(
        "a directory name",
        "CERT_UNTRUSTED",
        "permits only the directory name \"CN=somebody\" (RFC 5280 4.2.1.10), and the name is \"\"; constraints of \
         this kind are refused, met or not",
        |w| w.below_changed(|ca| ca.set(subtree(0, tlv(0xa4, &der::name("somebody"))))),
    )
    .openssl_differs(
        "webpki refuses every constraint on directory names; an empty subject meets it for openssl",
    ),
    refused("a directory name that is not excluded", "CERT_UNTRUSTED", "excludes the directory name", |w| {
        w.below_changed(|ca| ca.set(subtree(1, tlv(0xa4, &der::name("somebody")))))
    })
    .openssl_differs(UNSUPPORTED),
    refused(
        "an e-mail address that is permitted",
        "CERT_UNTRUSTED",
        "permits only the e-mail address \"market.example\" (RFC 5280 4.2.1.10), and the name is \"me@market.example\"; \
         constraints of this kind are refused, met or not",
        |w| with_names(w, subtree(0, tlv(0x81, b"market.example")), &[tlv(0x81, b"me@market.example")]),
    )
    .openssl_differs(UNSUPPORTED),
    refused("an e-mail address that is not excluded", "CERT_UNTRUSTED", "excludes the e-mail address", |w| {
        with_names(w, subtree(1, tlv(0x81, b"evil.example")), &[tlv(0x81, b"me@market.example")])
    })
    .openssl_differs(UNSUPPORTED),
    taken("a constraint on e-mail addresses, of which there are none", |w| {
        w.below_changed(|ca| ca.set(subtree(0, tlv(0x81, b"market.example"))))
    }),
    refused("a constraint that cannot be read", "CERT_MALFORMED", "", |w| {
        w.below_changed(|ca| ca.set(Extension::ce(ce::NAME_CONSTRAINTS, true, vec![0x30, 3, 1])))
    }),
];

#[tokio::test]
async fn pkits_4_13_name_constraints() {
    judge(CONSTRAINTS).await;
}

const EXCLUDED: &str = "excludes the DNS name \"market.example\"";

/// Where several paths lead upwards, webpki reports a signature that fails on one of them before a constraint that is
/// violated on the other.
const BESIDE_ANOTHER_PATH: &[Case] = &[
    refused("a constraint of a root that has a namesake", "CERT_UNTRUSTED", EXCLUDED, |w| {
        let root = w.root("another root", |root| root.set(dns_subtree(1, "market.example")))?;
        let namesake = w.root("another root", nothing)?;
        let shown = w.leaf(&root, &[], |leaf| named(leaf, "payments.market.example"))?;
        Ok(shown.trusting(&[&namesake, &root]))
    }),
    refused(
        "a constraint of a root above an authority that has a namesake",
        "CERT_UNTRUSTED",
        EXCLUDED,
        |w| {
            let root = w.root("another root", |root| root.set(dns_subtree(1, "market.example")))?;
            let (one, other) = (w.below(&root, "twin", nothing)?, w.below(&root, "twin", nothing)?);
            let shown =
                w.leaf(&one, &[&other.der, &one.der], |leaf| named(leaf, "payments.market.example"))?;
            Ok(shown.trusting(&[&root]))
        },
    ),
    refused("a constraint of an authority that has a namesake", "CERT_UNTRUSTED", EXCLUDED, |w| {
        let one = w.authority(|ca| ca.set(dns_subtree(1, "market.example")))?;
        let other = w.authority(nothing)?;
        w.leaf(&one, &[&other.der, &one.der], |leaf| named(leaf, "payments.market.example"))
    }),
    refused("a constraint of an authority that issued itself a new key", "CERT_UNTRUSTED", EXCLUDED, |w| {
        let old = w.authority(|ca| ca.set(dns_subtree(1, "market.example")))?;
        let new = w.below(&old, "", |ca| ca.subject.clone_from(&old.name))?;
        w.leaf(&new, &[&new.der, &old.der], |leaf| named(leaf, "payments.market.example"))
    }),
    refused("a constraint in the new certificate of such an authority", "CERT_UNTRUSTED", EXCLUDED, |w| {
        let old = w.authority(nothing)?;
        let new = w.below(&old, "", |ca| {
            ca.subject.clone_from(&old.name);
            ca.set(dns_subtree(1, "market.example"));
        })?;
        w.leaf(&new, &[&new.der, &old.der], |leaf| named(leaf, "payments.market.example"))
    }),
    refused(
        "a forged signature below a constraint",
        "CERT_SIGNATURE_INVALID",
        "leaf certificate was not signed by the key of intermediate certificate 1",
        |w| {
            let mut shown = constrained(w, dns_subtree(1, "market.example"), "payments.market.example")?;
            shown.chain[0] = crate::world::tampered(&shown.chain[0]);
            Ok(shown)
        },
    ),
];

#[tokio::test]
async fn a_violated_constraint_is_no_invalid_signature_whatever_else_leads_upwards() {
    judge(BESIDE_ANOTHER_PATH).await;
}
