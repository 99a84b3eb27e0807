//! PKITS 4.1: signatures.

use avouch_attacker::der::{oid, sequence, tlv};
use avouch_attacker::forge::ecdsa_sha1;

use crate::world::{Case, judge, nothing, refused, taken, tampered};

const CASES: &[Case] = &[
    taken("a right chain", |w| w.changed(nothing)),
    taken("a leaf right below the root", |w| w.leaf(&w.root, &[], nothing)),
    refused(
        "a bad signature in a leaf",
        "CERT_SIGNATURE_INVALID",
        "leaf certificate was not signed by the key of intermediate certificate 1 (CN=the signing authority)",
        |w| {
            let mut shown = w.changed(nothing)?;
            shown.chain[0] = tampered(&shown.chain[0]);
            Ok(shown)
        },
    ),
    refused("a bad signature in a leaf below the root", "CERT_UNTRUSTED", "not signed by the trusted", |w| {
        let mut shown = w.leaf(&w.root, &[], nothing)?;
        shown.chain[0] = tampered(&shown.chain[0]);
        Ok(shown)
    }),
    refused(
        "a leaf that was changed after it was signed",
        "CERT_SIGNATURE_INVALID",
        "leaf certificate was not signed",
        |w| {
            let mut shown = w.changed(nothing)?;
            let leaf = &mut shown.chain[0];
            let at = leaf.windows(8).position(|octets| octets == b"payments").ok_or("no name")?;
            leaf[at..at + 8].copy_from_slice(b"accounts");
            Ok(shown)
        },
    ),
    refused(
        "a bad signature in an authority",
        "CERT_UNTRUSTED",
        "intermediate certificate 1 (CN=the signing authority) was not signed by the trusted CN=the root",
        |w| {
            let mut shown = w.changed(nothing)?;
            shown.chain[1] = tampered(&shown.chain[1]);
            Ok(shown)
        },
    ),
    refused(
        "a bad signature in the upper of two authorities",
        "CERT_UNTRUSTED",
        "intermediate certificate 2 (CN=upper) was not",
        |w| {
            let upper = w.below(&w.root, "upper", nothing)?;
            let mut shown = w.under(&[&upper, &w.below(&upper, "lower", nothing)?])?;
            shown.chain[2] = tampered(&shown.chain[2]);
            Ok(shown)
        },
    ),
    refused(
        "a bad signature in the lower of two authorities",
        "CERT_SIGNATURE_INVALID",
        "intermediate certificate 1 was not signed by the key of intermediate certificate 2 (CN=upper)",
        |w| {
            let upper = w.below(&w.root, "upper", nothing)?;
            let mut shown = w.under(&[&upper, &w.below(&upper, "lower", nothing)?])?;
            shown.chain[1] = tampered(&shown.chain[1]);
            Ok(shown)
        },
    ),
    refused(
        "a leaf signed with SHA-1",
        "CERT_ALGORITHM_REFUSED",
        "leaf certificate by 1.2.840.10045.4.1",
        |w| {
            w.changed(|leaf| {
                leaf.inner_algorithm = ecdsa_sha1();
                leaf.outer_algorithm = ecdsa_sha1();
            })
        },
    ),
    refused(
        "an authority signed with SHA-1",
        "CERT_ALGORITHM_REFUSED",
        "intermediate certificate 1 by 1.2.840.10045.4.1",
        |w| {
            w.below_changed(|ca| {
                ca.inner_algorithm = ecdsa_sha1();
                ca.outer_algorithm = ecdsa_sha1();
            })
        },
    ),
    refused(
        "an algorithm that does not fit the issuer's key",
        "CERT_ALGORITHM_REFUSED",
        "leaf certificate by 1.3.101.112",
        |w| {
            w.changed(|leaf| {
                let ed25519 = sequence(&[oid(&[0x2b, 0x65, 0x70])]);
                leaf.inner_algorithm.clone_from(&ed25519);
                leaf.outer_algorithm = ed25519;
            })
        },
    ),
    refused(
        "two algorithms in a leaf",
        "CERT_MALFORMED",
        "leaf certificate: the certificate names two",
        |w| w.changed(|leaf| leaf.outer_algorithm = ecdsa_sha1()),
    ),
    refused(
        "two algorithms in an authority",
        "CERT_MALFORMED",
        "intermediate certificate 1: the certificate names two different signature algorithms",
        |w| w.below_changed(|ca| ca.inner_algorithm = ecdsa_sha1()),
    ),
    refused("parameters where the algorithm has none", "CERT_ALGORITHM_REFUSED", "leaf certificate", |w| {
        w.changed(|leaf| {
            let identifier = [oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]), tlv(0x05, &[])];
            leaf.inner_algorithm = sequence(&identifier);
            leaf.outer_algorithm = sequence(&identifier);
        })
    })
    .openssl_differs("it overlooks a NULL that RFC 5758 §3.2 forbids"),
    taken("a root whose own signature is bad", |w| {
        let mut shown = w.changed(nothing)?;
        shown.roots[0] = tampered(&shown.roots[0]);
        Ok(shown)
    }),
];

#[tokio::test]
async fn pkits_4_1_signatures() {
    judge(CASES).await;
}
