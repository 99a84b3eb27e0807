//! The items of `avouch cert inspect`, for `avouch explain`.

use crate::output;

/// One demand on a certificate.
pub(super) struct Item {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) meaning: &'static str,
}

/// By id; the same ids as in [`inspect`](crate::inspect).
pub(super) const ITEMS: &[Item] = &[
    Item {
        id: "AV-001",
        title: "exactly one URI name",
        meaning: "An SVID carries its owner's SPIFFE ID as its only URI in the subject alternative name. With none \
                  nobody knows whose it is; with several everybody may read another one (X509-SVID 2).",
    },
    Item {
        id: "AV-002",
        title: "the URI is a SPIFFE ID",
        meaning: "The URI follows the grammar of SPIFFE IDs: spiffe://TRUST-DOMAIN/PATH, lower-case domain, no empty \
                  or dotted segment, no escapes (SPIFFE-ID 2).",
    },
    Item {
        id: "AV-003",
        title: "the SPIFFE ID has a path",
        meaning: "A workload has a path. An ID without one stands for the trust domain itself, which only signing \
                  certificates may carry (X509-SVID 5.2).",
    },
    Item {
        id: "AV-004",
        title: "names are critical if the subject is empty",
        meaning: "If the subject is empty, the subject alternative name is the only name, and must be marked critical \
                  (X509-SVID 3.1, RFC 5280 4.1.2.6).",
    },
    Item {
        id: "AV-005",
        title: "not a CA",
        meaning: "A workload's certificate must not be able to sign others (X509-SVID 4.1).",
    },
    Item {
        id: "AV-006",
        title: "key usage is there and critical",
        meaning: "What the key may be used for is stated, and marked critical (X509-SVID 4.3).",
    },
    Item {
        id: "AV-007",
        title: "may sign handshakes (digitalSignature)",
        meaning: "Without digitalSignature the key may not prove itself in a TLS handshake (X509-SVID 4.3).",
    },
    Item {
        id: "AV-008",
        title: "may not sign certificates or CRLs",
        meaning: "Neither keyCertSign nor cRLSign in a workload's certificate (X509-SVID 4.3).",
    },
    Item {
        id: "AV-009",
        title: "extended key usage is serverAuth and clientAuth",
        meaning: "A workload is a server for some and a client of others; if the extension is there, it names both \
                  (X509-SVID 4.4).",
    },
    Item {
        id: "AV-010",
        title: "a positive serial of 20 bytes at most",
        meaning: "By its serial number a certificate is found in records and could be revoked (RFC 5280 4.1.2.2).",
    },
    Item {
        id: "AV-011",
        title: "a key of a strong kind and size",
        meaning: "P-256, P-384, P-521, Ed25519, or RSA of 2048 to 8192 bits (NIST SP 800-57). Others are refused with \
                  CERT_ALGORITHM_REFUSED.",
    },
    Item {
        id: "AV-012",
        title: "no unknown critical extension",
        meaning: "A critical extension that is not understood must lead to a refusal (RFC 5280 4.2).",
    },
    Item {
        id: "AV-021",
        title: "a CA, and says so critically",
        meaning: "A signing certificate has basic constraints with cA, marked critical (X509-SVID 4.1).",
    },
    Item {
        id: "AV-022",
        title: "key usage is there and critical",
        meaning: "What the authority's key may be used for is stated, and marked critical (X509-SVID 4.3).",
    },
    Item {
        id: "AV-023",
        title: "may sign certificates (keyCertSign)",
        meaning: "Without keyCertSign nothing that it has signed is accepted (X509-SVID 4.3).",
    },
    Item {
        id: "AV-024",
        title: "its SPIFFE ID, if any, has no path",
        meaning: "A signing certificate stands for a trust domain, not for a workload in it (X509-SVID 3.1).",
    },
];

/// The page of an item.
pub(super) fn page(id: &str) -> Option<String> {
    let item = ITEMS.iter().find(|item| item.id == id)?;
    let mut text = format!("{} (certificate): {}\n\n", item.id, item.title);
    text.push_str(&output::paragraph("It means: ", item.meaning));
    let remedy = "Look into the certificate with `avouch cert inspect FILE`, and have it issued again: by the issuer \
                  of this project, or by another SPIFFE issuer.";
    text.push_str(&output::paragraph("What to do: ", remedy));
    Some(text)
}
