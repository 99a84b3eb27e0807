//! PKITS 4.16: extensions that nobody knows; and versions, repeated extensions, names and numbers of authorities.

use avouch_attacker::der::{oid, sequence, tlv};
use avouch_attacker::forge::{Extension, ce, rsa_spki};

use crate::world::{Case, Verdict, judge, refused, taken};

const SPIFFE_ID: &str = "X509-SVID §3.1 is about SPIFFE IDs, of which openssl knows nothing";
const POLICIES: &str = "nothing here follows certificate policies, so a critical one is not understood";
const SERIALS: &str = "openssl does not look at serial numbers";

fn policies() -> Extension {
    let policy = sequence(&[oid(&[0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 9])]);
    Extension::ce(32, true, sequence(&[policy]))
}

const UNKNOWN: &[Case] = &[
    taken("an unknown extension in a leaf", |w| w.changed(|leaf| leaf.set(Extension::unheard_of(false, 3)))),
    refused(
        "an unknown critical extension in a leaf",
        "SVID_INVALID",
        "leaf certificate: unknown critical extension 1.3.6.1.4.1.99999.7",
        |w| w.changed(|leaf| leaf.set(Extension::unheard_of(true, 3))),
    ),
    taken("an unknown extension in an authority", |w| {
        w.below_changed(|ca| ca.set(Extension::unheard_of(false, 3)))
    }),
    refused(
        "an unknown critical extension in an authority",
        "CERT_UNTRUSTED",
        "intermediate certificate 1: unknown critical extension 1.3.6.1.4.1.99999.7",
        |w| w.below_changed(|ca| ca.set(Extension::unheard_of(true, 3))),
    ),
    Case {
        verdict: Verdict::NoBundle("1.3.6.1.4.1.99999.7 is not understood"),
        ..refused("an unknown critical extension in a root", "", "", |w| {
            w.root_changed(|root| root.set(Extension::unheard_of(true, 3)))
        })
    },
    refused("critical policies", "CERT_UNTRUSTED", "unknown critical extension 2.5.29.32", |w| {
        w.below_changed(|ca| ca.set(policies()))
    })
    .openssl_differs(POLICIES),
    taken("policies", |w| w.below_changed(|ca| ca.set(Extension { critical: false, ..policies() }))),
    refused("a critical key identifier", "CERT_UNTRUSTED", "unknown critical extension 2.5.29.14", |w| {
        w.below_changed(|ca| {
            ca.extensions
                .iter_mut()
                .filter(|it| it.oid == [0x55, 0x1d, 14])
                .for_each(|it| it.critical = true);
        })
    }),
    refused(
        "a critical authority key identifier",
        "SVID_INVALID",
        "unknown critical extension 2.5.29.35",
        |w| {
            w.changed(|leaf| {
                leaf.extensions
                    .iter_mut()
                    .filter(|it| it.oid == [0x55, 0x1d, 35])
                    .for_each(|it| it.critical = true);
            })
        },
    ),
    taken("a key identifier that is not the issuer's", |w| {
        let other = w.root("somebody else", |_| ())?;
        w.changed(|leaf| leaf.set(Extension::authority_key(&other.key)))
    })
    .openssl_differs("key identifiers help to build a path and are no part of validating it"),
];

#[tokio::test]
async fn pkits_4_16_private_certificate_extensions() {
    judge(UNKNOWN).await;
}

const FORM: &[Case] = &[
    refused("an extension that is there twice in a leaf", "CERT_MALFORMED", "leaf certificate", |w| {
        w.changed(|leaf| leaf.extensions.extend(leaf.extensions.first().cloned()))
    }),
    refused(
        "an unknown extension that is there twice",
        "CERT_MALFORMED",
        "1.3.6.1.4.1.99999.7 is there twice",
        |w| {
            w.changed(|leaf| {
                leaf.extensions.extend([Extension::unheard_of(false, 1), Extension::unheard_of(false, 2)])
            })
        },
    )
    .openssl_differs("RFC 5280 §4.2 forbids it; openssl looks at those it knows"),
    refused(
        "an extension that is there twice in an authority",
        "CERT_MALFORMED",
        "intermediate certificate 1",
        |w| w.below_changed(|ca| ca.extensions.extend(ca.extensions.first().cloned())),
    ),
    refused(
        "an unknown extension that is there twice in an authority",
        "CERT_MALFORMED",
        "intermediate certificate 1: the extension 1.3.6.1.4.1.99999.7 is there twice",
        |w| {
            w.below_changed(|ca| {
                ca.extensions.extend([Extension::unheard_of(false, 1), Extension::unheard_of(false, 2)]);
            })
        },
    )
    .openssl_differs("RFC 5280 §4.2 forbids it; openssl looks at those it knows"),
    refused(
        "an authority of version 1",
        "CERT_MALFORMED",
        "intermediate certificate 1: the certificate is not of version 3",
        |w| w.below_changed(|ca| ca.version = 1),
    ),
    refused("an authority of version 2", "CERT_MALFORMED", "intermediate certificate 1", |w| {
        w.below_changed(|ca| ca.version = 2)
    }),
    Case {
        verdict: Verdict::NoBundle("is not of version 3"),
        ..refused("a root of version 1", "", "", |w| w.root_changed(|root| root.version = 1))
    },
    refused("an authority with the ID of a workload", "CERT_UNTRUSTED", "a CA must not have a path", |w| {
        w.below_changed(|ca| ca.set(Extension::uris(&["spiffe://market.example/payments"])))
    })
    .openssl_differs(SPIFFE_ID),
    refused("an authority with two IDs", "CERT_UNTRUSTED", "1 more URIs", |w| {
        w.below_changed(|ca| ca.set(Extension::uris(&["spiffe://market.example", "spiffe://evil.example"])))
    })
    .openssl_differs(SPIFFE_ID),
    refused("an authority with an ID that is none", "CERT_UNTRUSTED", "not a SPIFFE ID", |w| {
        w.below_changed(|ca| ca.set(Extension::uris(&["spiffe://Market.example"])))
    })
    .openssl_differs(SPIFFE_ID),
    taken("an authority with the ID of its trust domain", |w| {
        w.below_changed(|ca| ca.set(Extension::uris(&["spiffe://market.example"])))
    }),
    Case {
        verdict: Verdict::NoBundle("must not have a path"),
        ..refused("a root with the ID of a workload", "", "", |w| {
            w.root_changed(|root| root.set(Extension::uris(&["spiffe://market.example/payments"])))
        })
    }
    .openssl_differs(SPIFFE_ID),
    refused(
        "an authority of serial number zero",
        "CERT_UNTRUSTED",
        "1: the serial number is not positive",
        |w| w.below_changed(|ca| ca.serial = vec![0]),
    )
    .openssl_differs(SERIALS),
    refused(
        "an authority of a negative serial number",
        "CERT_UNTRUSTED",
        "serial number is not positive",
        |w| w.below_changed(|ca| ca.serial = vec![0x80, 1]),
    )
    .openssl_differs(SERIALS),
    refused("an authority with a serial number of 21 octets", "CERT_UNTRUSTED", "more than 20 octets", |w| {
        w.below_changed(|ca| ca.serial = vec![0x11; 21])
    })
    .openssl_differs(SERIALS),
    Case {
        verdict: Verdict::NoBundle("RSA 1024 is not accepted"),
        ..refused("a weak RSA root", "", "", |w| w.root_changed(|root| root.spki = rsa_spki(1024)))
    },
    refused(
        "an authority whose key cannot be read",
        "CERT_ALGORITHM_REFUSED",
        "intermediate certificate 1",
        |w| w.below_changed(|ca| ca.spki = sequence(&[sequence(&[oid(&[0x2a, 3])]), tlv(3, &[0, 1])])),
    ),
    refused("a subject alternative name that cannot be read", "CERT_MALFORMED", "2.5.29.17", |w| {
        w.below_changed(|ca| ca.set(Extension::ce(ce::SAN, false, vec![0x30, 9, 0x86, 1])))
    }),
];

#[tokio::test]
async fn the_form_of_certificates_is_that_of_rfc_5280_and_of_spiffe() {
    judge(FORM).await;
}
