//! The items of `avouch cert inspect` and the findings of `avouch cert lint`, for `avouch explain`.

use crate::output;

/// A demand on a certificate.
pub(super) struct Item {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) meaning: &'static str,
}

/// The items by id; the ids are those of [`inspect`](crate::inspect).
pub(super) const ITEMS: &[Item] = &[
    Item {
        id: "AV-000",
        title: "accepted by the verifier",
        meaning: "The parser that every verifier of avouch uses refuses it for something that no other item names; \
                  its own words say what.",
    },
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
        id: "AV-013",
        title: "version 3, which has extensions",
        meaning: "A SPIFFE ID stands in an extension, and versions 1 and 2 have none. `openssl x509 -req` without -extfile \
                  writes version 1: give it a file with subjectAltName, keyUsage and extendedKeyUsage (RFC 5280 4.1.2.1).",
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
    Item {
        id: "AV-025",
        title: "a sequence number, if any, of 64 bits",
        meaning: "Consumers tell newer bundles from older ones by spiffe_sequence, an unsigned integer (Trust \
                  Domain and Bundle 4.1.1).",
    },
    Item {
        id: "AV-026",
        title: "a refresh hint, if any, in whole seconds",
        meaning: "spiffe_refresh_hint says in whole seconds how often to ask for the bundle again (Trust \
                  Domain and Bundle 4.1.2).",
    },
    Item {
        id: "AV-027",
        title: "each key says its type",
        meaning: "A key without kty is ignored, and with it everything that it vouches for (Trust Domain and \
                  Bundle 4.2.1).",
    },
    Item {
        id: "AV-028",
        title: "no \"kid\" at an X.509 authority",
        meaning: "kid is for JWT authorities; at an X.509 authority it must not be set (X509-SVID 6.1).",
    },
    Item {
        id: "AV-029",
        title: "one certificate per X.509 authority",
        meaning: "x5c holds exactly one CA certificate; readers use only the first, and one without is ignored \
                  (X509-SVID 6.1, 6.2).",
    },
    Item {
        id: "AV-031",
        title: "each certificate is followed by the one that signed it",
        meaning: "A chain goes from the leaf upwards. Some peers sort it, others refuse it (RFC 8446 4.4.2).",
    },
    Item {
        id: "AV-032",
        title: "key identifiers link each to the one above",
        meaning: "By the authority key identifier the right one of several authorities of one name is found \
                  (RFC 5280 4.2.1.1).",
    },
    Item {
        id: "AV-033",
        title: "each signature is by the key above",
        meaning: "If it is not, the chain is of another authority of the same name, or a certificate was \
                  changed (RFC 5280 6.1.3).",
    },
    Item {
        id: "AV-034",
        title: "all are valid now",
        meaning: "One certificate of the chain that has ended, or not begun, ends the whole chain. Compare the \
                  clock first (RFC 5280 6.1.3).",
    },
    Item {
        id: "AV-035",
        title: "path lengths allow the chain",
        meaning: "An authority may limit how many authorities follow below it (RFC 5280 4.2.1.9).",
    },
    Item {
        id: "AV-036",
        title: "none outlives the one above",
        meaning: "What lives longer than its authority is worthless before its own end, which surprises \
                  whoever reads only that.",
    },
    Item {
        id: "AV-037",
        title: "name constraints allow every name below",
        meaning: "An authority may constrain the names below it. Constraints on URIs, directory names and e-mail addresses \
                  are not supported and refuse every such name (RFC 5280 4.2.1.10; docs/spiffe-divergences.md).",
    },
    Item {
        id: "AV-038",
        title: "the bundle vouches for it",
        meaning: "The verdict of the verifier that every connection uses, against the bundle of --bundle, with \
                  its reason (X509-SVID 5.1).",
    },
    Item {
        id: "AV-039",
        title: "no longer than a listener takes",
        meaning: "A listener takes chains of five certificates at most, without the root; a longer one is refused with \
                  CERT_CHAIN_TOO_DEEP.",
    },
    Item {
        id: "AV-041",
        title: "at most 16 KiB",
        meaning: "The issuer reads no larger certificate signing request; an honest one has some hundred \
                  bytes.",
    },
    Item {
        id: "AV-042",
        title: "the DER of a PKCS#10 request",
        meaning: "The issuer reads one request and nothing behind it: a second name could hide there (RFC 2986 \
                  4).",
    },
    Item {
        id: "AV-043",
        title: "version 1",
        meaning: "There is no other version of certificate signing requests (RFC 2986 4).",
    },
    Item {
        id: "AV-044",
        title: "a key of ECDSA P-256 or P-384",
        meaning: "The issuer's profiles issue for no other keys.",
    },
    Item {
        id: "AV-045",
        title: "signed by ECDSA with SHA-256, 384 or 512",
        meaning: "The issuer verifies no other proof of possession.",
    },
    Item {
        id: "AV-046",
        title: "proof of possession: signed by its own key",
        meaning: "Otherwise somebody could have a stranger's key certified as an own one (RFC 2986 4.2).",
    },
    Item {
        id: "AV-047",
        title: "the names it asks for are readable",
        meaning: "A name that one program reads and another does not is refused (RFC 5280 4.2.1.6).",
    },
    Item {
        id: "AV-048",
        title: "at most one URI",
        meaning: "The URI is compared with the identity that will be issued; of two nobody knows which is \
                  meant (X509-SVID 2).",
    },
    Item {
        id: "AV-049",
        title: "the URI, if any, is a SPIFFE ID",
        meaning: "It must be the identity that will be issued, or be left out (SPIFFE-ID 2).",
    },
    Item {
        id: "AV-051",
        title: "the issuer's name is not empty",
        meaning: "Without it nobody finds the certificate above (RFC 5280 4.1.2.4).",
    },
    Item {
        id: "AV-052",
        title: "a CA has a subject",
        meaning: "What it signs names it by its subject (RFC 5280 4.1.2.6).",
    },
    Item {
        id: "AV-053",
        title: "names are critical only where there is no subject",
        meaning: "Beside a subject the subject alternative name should not be critical; without one it must be \
                  (RFC 5280 4.2.1.6).",
    },
    Item {
        id: "AV-054",
        title: "a CA bears the SPIFFE ID of its trust domain",
        meaning: "It should say which trust domain it signs for (SPIFFE-ID 3.1).",
    },
    Item {
        id: "AV-055",
        title: "a workload's certificate is not issued by itself",
        meaning: "No bundle vouches for one that is: a bundle holds authorities.",
    },
    Item {
        id: "AV-056",
        title: "there is an authority key identifier",
        meaning: "It must be in every certificate but one that signs itself (RFC 5280 4.2.1.1).",
    },
    Item {
        id: "AV-057",
        title: "there is a subject key identifier",
        meaning: "It must be in every CA and should be in every other certificate (RFC 5280 4.2.1.2).",
    },
    Item {
        id: "AV-058",
        title: "key identifiers are not critical",
        meaning: "Neither of the two may be (RFC 5280 4.2.1.1, 4.2.1.2).",
    },
    Item {
        id: "AV-059",
        title: "an elliptic key is not said to encipher",
        meaning: "keyEncipherment and dataEncipherment are for RSA keys (RFC 8813 3).",
    },
    Item {
        id: "AV-060",
        title: "only a CA has a path length",
        meaning: "It limits what a CA may sign, and means nothing elsewhere (RFC 5280 4.2.1.9).",
    },
    Item {
        id: "AV-061",
        title: "a CA only signs certificates",
        meaning: "A CA that may also sign handshakes invites its key to where connections are (X509-SVID 3.2, \
                  4.3).",
    },
    Item {
        id: "AV-062",
        title: "a CA has no extended key usage",
        meaning: "Where it has, path validation binds all below it to that usage (RFC 5280 4.2.1.12).",
    },
    Item {
        id: "AV-063",
        title: "the serial cannot be guessed",
        meaning: "Eight random bytes at least: whoever can guess a serial can prepare a collision (CA/B BR \
                  7.1).",
    },
    Item {
        id: "AV-064",
        title: "dates are encoded as they must be",
        meaning: "UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5).",
    },
    Item {
        id: "AV-065",
        title: "no broken signature algorithm",
        meaning: "Signatures with MD5 or SHA-1 can be forged (RFC 9155).",
    },
    Item {
        id: "AV-066",
        title: "it lives no longer than it must",
        meaning: "A stolen key is worth what is left of its certificate's life. SVIDs live hours, roots years, \
                  not decades.",
    },
    Item {
        id: "AV-067",
        title: "it is valid now",
        meaning: "It has ended, or not begun. Compare the clock first (RFC 5280 4.1.2.5).",
    },
    Item {
        id: "AV-068",
        title: "no default value is spelt out",
        meaning: "DER leaves out what is the default; strict readers refuse the certificate (X.690 11.5).",
    },
    Item {
        id: "AV-069",
        title: "signed with an algorithm that is accepted",
        meaning: "ECDSA with SHA-256, 384 or 512, RSA of 2048 bits and more with these (PKCS#1 or PSS), or Ed25519. Others \
                  are refused with CERT_ALGORITHM_REFUSED.",
    },
    Item {
        id: "AV-070",
        title: "a CA constrains no URIs and no directory names",
        meaning: "The path validator supports neither, and every SVID has a URI and a subject, if only an empty one: none \
                  below such a CA is accepted (RFC 5280 4.2.1.10; docs/spiffe-divergences.md).",
    },
    Item {
        id: "AV-071",
        title: "a key has one owner",
        meaning: "A key that two identities share, or an authority and a workload, makes one of them the \
                  other. A renewal should change the key.",
    },
    Item {
        id: "AV-072",
        title: "a serial is used once",
        meaning: "An authority must never give out one serial twice (RFC 5280 4.1.2.2).",
    },
    Item {
        id: "AV-073",
        title: "at most 16 KiB",
        meaning: "A listener takes no larger certificate, and refuses it with CERT_TOO_LARGE before it reads it.",
    },
    Item {
        id: "AV-074",
        title: "a path length of 255 at most",
        meaning: "The path validator reads no longer one. It would limit nothing: a chain has five certificates at most.",
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
