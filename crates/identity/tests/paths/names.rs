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
const VIOLATED: &str = "name constraint";

const CONSTRAINTS: &[Case] = &[
    taken("a DNS name that is permitted", |w| {
        constrained(w, dns_subtree(0, "market.example"), "payments.market.example")
    }),
    refused("a DNS name that is not permitted", "CERT_UNTRUSTED", VIOLATED, |w| {
        constrained(w, dns_subtree(0, "market.example"), "payments.evil.example")
    }),
    refused("a DNS name that ends alike", "CERT_UNTRUSTED", VIOLATED, |w| {
        constrained(w, dns_subtree(0, "market.example"), "blackmarket.example")
    }),
    refused("a DNS name that is excluded", "CERT_UNTRUSTED", VIOLATED, |w| {
        constrained(w, dns_subtree(1, "market.example"), "payments.market.example")
    }),
    taken("a DNS name beside an excluded one", |w| {
        constrained(w, dns_subtree(1, "evil.example"), "payments.market.example")
    }),
    refused("a constraint that is not critical and is violated", "CERT_UNTRUSTED", VIOLATED, |w| {
        let constraint = Extension { critical: false, ..dns_subtree(1, "market.example") };
        constrained(w, constraint, "payments.market.example")
    }),
    refused("a constraint two levels above", "CERT_UNTRUSTED", VIOLATED, |w| {
        let upper = w.authority(|ca| ca.set(dns_subtree(1, "market.example")))?;
        let lower = w.below(&upper, "lower", nothing)?;
        w.leaf(&lower, &[&lower.der, &upper.der], |leaf| named(leaf, "payments.market.example"))
    }),
    refused("a constraint of the root", "CERT_UNTRUSTED", VIOLATED, |w| {
        let root = w.root("another root", |root| root.set(dns_subtree(1, "market.example")))?;
        let shown = w.leaf(&root, &[], |leaf| named(leaf, "payments.market.example"))?;
        Ok(shown.trusting(&[&root]))
    }),
    taken("a constraint on what the leaf does not have", |w| {
        w.below_changed(|ca| ca.set(dns_subtree(0, "market.example")))
    }),
    refused("a URI that is permitted", "CERT_UNTRUSTED", VIOLATED, |w| {
        w.below_changed(|ca| ca.set(subtree(0, tlv(0x86, b"market.example"))))
    })
    .openssl_differs(URI_IS_UNKNOWN),
    refused("a URI that is not excluded", "CERT_UNTRUSTED", VIOLATED, |w| {
        w.below_changed(|ca| ca.set(subtree(1, tlv(0x86, b"evil.example"))))
    })
    .openssl_differs(URI_IS_UNKNOWN),
    refused("a URI that is excluded", "CERT_UNTRUSTED", VIOLATED, |w| {
        w.below_changed(|ca| ca.set(subtree(1, tlv(0x86, b"market.example"))))
    }),
    refused("a directory name", "CERT_UNTRUSTED", VIOLATED, |w| {
        let base = tlv(0xa4, &der::name("somebody"));
        w.below_changed(|ca| ca.set(subtree(0, base)))
    })
    .openssl_differs(
        "webpki refuses every constraint on directory names; an empty subject meets it for openssl",
    ),
    refused("a constraint that cannot be read", "CERT_MALFORMED", "", |w| {
        w.below_changed(|ca| ca.set(Extension::ce(ce::NAME_CONSTRAINTS, true, vec![0x30, 3, 1])))
    }),
];

#[tokio::test]
async fn pkits_4_13_name_constraints() {
    judge(CONSTRAINTS).await;
}
