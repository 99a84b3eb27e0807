//! PKITS 4.7: key usage of authorities; and what they may be used for otherwise.

use avouch_attacker::der::{oid, sequence};
use avouch_attacker::forge::{Extension, ce, purpose, usage};

use crate::world::{Case, Verdict, judge, refused, taken};

const SPIFFE_ASKS: &str = "X509-SVID §4.3 asks it of every certificate";

fn any_purpose() -> Extension {
    Extension::ce(ce::EXTENDED_KEY_USAGE, false, sequence(&[oid(&[0x55, 0x1d, 0x25, 0])]))
}

const USAGE: &[Case] = &[
    refused(
        "an authority without keyCertSign",
        "CERT_UNTRUSTED",
        "intermediate certificate 1: the key usage lacks keyCertSign",
        |w| w.below_changed(|ca| ca.set(Extension::key_usage(usage::CRL_SIGN))),
    ),
    refused("an authority without keyCertSign, not critical", "CERT_UNTRUSTED", "not marked critical", |w| {
        w.below_changed(|ca| {
            ca.set(Extension { critical: false, ..Extension::key_usage(usage::DIGITAL_SIGNATURE) });
        })
    }),
    refused(
        "a key usage that is not critical",
        "CERT_UNTRUSTED",
        "intermediate certificate 1: the key usage is not marked critical",
        |w| {
            w.below_changed(|ca| {
                ca.set(Extension { critical: false, ..Extension::key_usage(usage::KEY_CERT_SIGN) });
            })
        },
    )
    .openssl_differs(SPIFFE_ASKS),
    refused(
        "no key usage",
        "CERT_UNTRUSTED",
        "intermediate certificate 1: the CA certificate has no key usage",
        |w| w.below_changed(|ca| ca.remove(ce::KEY_USAGE)),
    ),
    refused(
        "no keyCertSign in the upper of two",
        "CERT_UNTRUSTED",
        "intermediate certificate 2: the key",
        |w| {
            let upper = w.authority(|ca| ca.set(Extension::key_usage(usage::CRL_SIGN)))?;
            w.under(&[&upper, &w.below(&upper, "lower", |_| ())?])
        },
    ),
    taken("an authority that may sign anything", |w| {
        w.below_changed(|ca| {
            ca.set(Extension::key_usage(
                usage::KEY_CERT_SIGN | usage::CRL_SIGN | usage::DIGITAL_SIGNATURE | usage::KEY_AGREEMENT,
            ));
        })
    }),
    Case {
        verdict: Verdict::NoBundle("the key usage lacks keyCertSign"),
        ..refused("a root without keyCertSign", "", "", |w| {
            w.root_changed(|root| root.set(Extension::key_usage(usage::CRL_SIGN)))
        })
    },
    Case {
        verdict: Verdict::NoBundle("the CA certificate has no key usage"),
        ..refused("a root without key usage", "", "", |w| w.root_changed(|root| root.remove(ce::KEY_USAGE)))
    },
];

#[tokio::test]
async fn pkits_4_7_key_usage() {
    judge(USAGE).await;
}

const CLIENTS: &str = "intermediate certificate 1: its extended key usage lacks clientAuth";
const SERVERS: &str = "intermediate certificate 1: its extended key usage lacks serverAuth";

const PURPOSES: &[Case] = &[
    taken("an authority for servers and clients", |w| {
        w.below_changed(|ca| ca.set(Extension::purposes(&[purpose::SERVER_AUTH, purpose::CLIENT_AUTH])))
    }),
    refused("an authority for servers", "CERT_PURPOSE_INVALID", CLIENTS, |w| {
        w.below_changed(|ca| ca.set(Extension::purposes(&[purpose::SERVER_AUTH])))
    })
    .as_server(Verdict::Taken),
    taken("an authority for clients", |w| {
        w.below_changed(|ca| ca.set(Extension::purposes(&[purpose::CLIENT_AUTH])))
    })
    .as_server(Verdict::Refused("CERT_PURPOSE_INVALID", SERVERS)),
    refused("an authority for code", "CERT_PURPOSE_INVALID", CLIENTS, |w| {
        w.below_changed(|ca| ca.set(Extension::purposes(&[purpose::CODE_SIGNING])))
    })
    .as_server(Verdict::Refused("CERT_PURPOSE_INVALID", SERVERS)),
    refused("an authority for anything", "CERT_PURPOSE_INVALID", CLIENTS, |w| {
        w.below_changed(|ca| ca.set(any_purpose()))
    })
    .as_server(Verdict::Refused("CERT_PURPOSE_INVALID", SERVERS)),
    refused("an authority for nothing", "CERT_PURPOSE_INVALID", "", |w| {
        w.below_changed(|ca| ca.set(Extension::purposes(&[])))
    }),
    taken("a root for code", |w| {
        w.root_changed(|root| root.set(Extension::purposes(&[purpose::CODE_SIGNING])))
    })
    .openssl_differs("a root's purpose is no input of path validation (RFC 5280 §6.1.1)"),
];

#[tokio::test]
async fn what_an_authority_may_be_used_for_binds_what_is_below_it() {
    judge(PURPOSES).await;
}
