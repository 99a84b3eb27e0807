//! The items of `avouch cert inspect` and the findings of `avouch cert lint`, for `avouch explain`.

use crate::output;

/// One demand on a certificate, a chain, a bundle or a request.
pub(super) struct Item {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) meaning: &'static str,
}

/// By id; the same ids as in [`inspect`](crate::inspect) and [`lint`](crate::lint).
pub(super) const ITEMS: &[Item] = &[
    Item {
        id: "AV-000",
        title: "accepted by the verifier",
        meaning: "The parser that every verifier of avouch uses refuses it, for something that no other item names; its own words say what.",
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
        meaning: "By its sequence number a bundle is known to be newer than another (Bundle 4.1.1).",
    },
    Item {
        id: "AV-026",
        title: "a refresh hint, if any, in whole seconds",
        meaning: "It says how often whoever fetches the bundle should come again (Bundle 4.1.2).",
    },
    Item {
        id: "AV-027",
        title: "each key says its type",
        meaning: "Without \"kty\" a key of the bundle is ignored (Bundle 4.2.1).",
    },
    Item {
        id: "AV-028",
        title: "no \"kid\" at an X.509 authority",
        meaning: "A key identifier belongs to keys of JWTs only (X509-SVID 6.1).",
    },
    Item {
        id: "AV-029",
        title: "one certificate per X.509 authority",
        meaning: "\"x5c\" holds exactly one certificate, the authority's own (X509-SVID 6.1).",
    },
    Item {
        id: "AV-031",
        title: "each certificate is followed by the one that signed it",
        meaning: "TLS asks for the leaf first, and behind each certificate its issuer's (RFC 8446 4.4.2). Others are CHAIN_INCOMPLETE for strict peers.",
    },
    Item {
        id: "AV-032",
        title: "key identifiers link each to the one above",
        meaning: "By them the right one is found among authorities of the same name (RFC 5280 4.2.1.1).",
    },
    Item {
        id: "AV-033",
        title: "each signature is by the key above",
        meaning: "A chain in which one is not proves nothing (RFC 5280 6.1.3).",
    },
    Item {
        id: "AV-034",
        title: "all are valid now",
        meaning: "By this machine's clock. One that has ended or not begun makes the whole chain refused (RFC 5280 6.1.3).",
    },
    Item {
        id: "AV-035",
        title: "path lengths allow the chain",
        meaning: "An authority may limit how many authorities may stand below it (RFC 5280 4.2.1.9).",
    },
    Item {
        id: "AV-036",
        title: "none outlives the one above",
        meaning: "What lives longer than what signed it ends with that in truth, and surprises then.",
    },
    Item {
        id: "AV-038",
        title: "the bundle vouches for it",
        meaning: "The verdict of the verifier that every avouch process uses, with the bundle that was given (X509-SVID 5.1).",
    },
    Item {
        id: "AV-041",
        title: "at most 16 KiB",
        meaning: "The issuer does not read larger certificate signing requests.",
    },
    Item {
        id: "AV-042",
        title: "the DER of a PKCS#10 request",
        meaning: "Nothing else is read, and nothing may stand behind it that a parser would overlook (RFC 2986 4).",
    },
    Item {
        id: "AV-043",
        title: "version 1",
        meaning: "There is no other version of certificate signing requests (RFC 2986 4).",
    },
    Item {
        id: "AV-044",
        title: "a key of ECDSA P-256 or P-384",
        meaning: "The issuer signs no other kind of key.",
    },
    Item {
        id: "AV-045",
        title: "signed by ECDSA with SHA-256, 384 or 512",
        meaning: "Other algorithms are not accepted for the proof of possession.",
    },
    Item {
        id: "AV-046",
        title: "proof of possession: signed by its own key",
        meaning: "Otherwise somebody could ask for a certificate for another's key (RFC 2986 4.2).",
    },
    Item {
        id: "AV-047",
        title: "the names it asks for are readable",
        meaning: "Names that parsers read differently could mean somebody else (RFC 5280 4.2.1.6).",
    },
    Item { id: "AV-048", title: "at most one URI", meaning: "An SVID has one identity (X509-SVID 2)." },
    Item {
        id: "AV-049",
        title: "the URI, if any, is a SPIFFE ID",
        meaning: "The request may name its identity, and must do so in the grammar; the entry decides (SPIFFE-ID 2).",
    },
    Item {
        id: "AV-051",
        title: "the issuer has a name",
        meaning: "A certificate names who issued it (RFC 5280 4.1.2.4).",
    },
    Item {
        id: "AV-052",
        title: "a CA has a subject",
        meaning: "What it signs names it by that (RFC 5280 4.1.2.6).",
    },
    Item {
        id: "AV-053",
        title: "names are critical exactly where there is no subject",
        meaning: "With a subject the alternative names are an addition, without one they are all there is (RFC 5280 4.2.1.6).",
    },
    Item {
        id: "AV-054",
        title: "a CA bears the SPIFFE ID of its trust domain",
        meaning: "It says which trust domain it is meant for (SPIFFE-ID 3.1).",
    },
    Item {
        id: "AV-055",
        title: "a workload's certificate is not issued by itself",
        meaning: "No bundle can vouch for it (X509-SVID 3).",
    },
    Item {
        id: "AV-056",
        title: "there is an authority key identifier",
        meaning: "By it the signer is found (RFC 5280 4.2.1.1).",
    },
    Item {
        id: "AV-057",
        title: "there is a subject key identifier",
        meaning: "A CA must have one, others should (RFC 5280 4.2.1.2).",
    },
    Item {
        id: "AV-058",
        title: "key identifiers are not critical",
        meaning: "They help to find, and decide nothing (RFC 5280 4.2.1.1, 4.2.1.2).",
    },
    Item {
        id: "AV-059",
        title: "an elliptic key is not said to encipher",
        meaning: "It cannot; libraries refuse such certificates (RFC 8813 3).",
    },
    Item {
        id: "AV-060",
        title: "only a CA has a path length",
        meaning: "It means nothing elsewhere, and is forbidden (RFC 5280 4.2.1.9).",
    },
    Item {
        id: "AV-061",
        title: "a CA only signs certificates",
        meaning: "With digitalSignature its key could be used in handshakes too (X509-SVID 4.3).",
    },
    Item {
        id: "AV-062",
        title: "a CA has no extended key usage",
        meaning: "Many verifiers apply it to all that is below (RFC 5280 4.2.1.12).",
    },
    Item {
        id: "AV-063",
        title: "the serial is unguessable",
        meaning: "8 random bytes at least keep a forger of hashes from preparing a certificate (CA/B BR 7.1).",
    },
    Item {
        id: "AV-064",
        title: "dates are in the form for their year",
        meaning: "UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5).",
    },
    Item {
        id: "AV-065",
        title: "it is signed with a strong hash",
        meaning: "MD5 and SHA-1 can be forged (RFC 9155).",
    },
    Item {
        id: "AV-066",
        title: "it lives as long as it is meant to",
        meaning: "An SVID lives hours, so that a stolen key is soon worth nothing; a CA at most ten years.",
    },
    Item { id: "AV-067", title: "it is valid now", meaning: "By this machine's clock (RFC 5280 4.1.2.5)." },
    Item {
        id: "AV-068",
        title: "defaults are left out",
        meaning: "DER has one encoding of everything; what is the default is not spelt out (X.690 11.5).",
    },
    Item {
        id: "AV-071",
        title: "a key belongs to one owner",
        meaning: "Whoever shares a key can pretend to be the other. A renewal should have a new one (NIST SP 800-57 5.2).",
    },
    Item {
        id: "AV-072",
        title: "a serial is used once by an issuer",
        meaning: "By issuer and serial a certificate is named in records and revocation lists (RFC 5280 4.1.2.2).",
    },
];

/// The page of an item.
pub(super) fn page(id: &str) -> Option<String> {
    let item = ITEMS.iter().find(|item| item.id == id)?;
    let mut text = format!("{} (certificate): {}\n\n", item.id, item.title);
    text.push_str(&output::paragraph("It means: ", item.meaning));
    let remedy = "Look into it with `avouch cert inspect FILE`, and have it made again: certificates by the issuer of \
                  this project, or by another SPIFFE issuer.";
    text.push_str(&output::paragraph("What to do: ", remedy));
    Some(text)
}
