//! Requests that want more than they may have, or that want to break the issuer: each gets what its entry allows, or a
//! refusal with its reason, and never a panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod support;

use avouch_issuance::{Csr, CsrError, Request};
use avouch_spiffe::x509::{CertificateInfo, KeyAlgorithm};
use avouch_spiffe::{Reason, SpiffeIdError};
use proptest::prelude::*;
use x509_parser::asn1_rs::{Any, FromDer as _};

use support::{Ca, HandMade, csr, extension, id, recorded, tlv};

fn refused(der: &[u8]) -> CsrError {
    Csr::parse(der).unwrap_err()
}

#[test]
fn a_request_for_a_ca_with_other_names_gets_a_plain_leaf_of_its_entry() {
    let csr = Csr::parse(&recorded("ca-and-other-sans")).unwrap();
    let issued = Ca::new().issue(Request::for_csr(&csr, id("/orders")).unwrap());
    let facts = CertificateInfo::parse(&issued.chain()[0]).unwrap();
    assert!(!facts.ca);
    assert_eq!(facts.key_usage, ["digitalSignature"]);
    assert_eq!(facts.uris, ["spiffe://market.example/orders"]);
    assert!(facts.dns.is_empty() && facts.ips.is_empty() && facts.subject.is_empty());
}

#[test]
fn a_p384_key_that_signs_with_sha256_gets_a_certificate_for_that_very_key() {
    let csr = Csr::parse(&recorded("p384-sha256")).unwrap();
    assert_eq!(csr.key_algorithm(), KeyAlgorithm::EcdsaP384);
    assert_eq!(csr.spiffe_id(), Some(&id("/orders")));
    let issued = Ca::new().issue(Request::for_csr(&csr, id("/orders")).unwrap());
    assert_eq!(issued.leaf().key_algorithm(), KeyAlgorithm::EcdsaP384);
    assert_eq!(issued.leaf().spki_der(), csr.spki_der());
}

#[test]
fn a_p256_key_may_sign_with_sha512() {
    assert!(Csr::parse(&recorded("p256-sha512")).is_ok());
}

#[test]
fn keys_that_are_weak_or_not_issued_for_are_refused_by_name() {
    for (name, algorithm) in [
        ("rsa1024", "RSA 1024"),
        ("rsa2048", "RSA 2048"),
        ("ed25519", "Ed25519"),
        ("p521", "ECDSA P-521"),
        ("secp256k1", "ECDSA on curve 1.3.132.0.10"),
    ] {
        let error = refused(&recorded(name));
        assert_eq!(error, CsrError::KeyAlgorithm { algorithm: algorithm.to_owned() });
        assert_eq!(error.reason(), Reason::CsrInvalid);
    }
}

#[test]
fn a_sha1_signature_is_refused_by_its_identifier() {
    let error = refused(&recorded("p256-sha1"));
    assert_eq!(error, CsrError::SignatureAlgorithm { algorithm: "1.2.840.10045.4.1".to_owned() });
}

#[test]
fn a_signature_over_something_else_is_no_proof_of_possession() {
    assert_eq!(refused(&HandMade { forged: true, ..HandMade::default() }.der()), CsrError::Signature);
}

#[test]
fn a_signature_that_claims_another_hash_is_no_proof_of_possession() {
    let sha384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
    let der = HandMade { signature_oid: Some(sha384), ..HandMade::default() }.der();
    assert_eq!(refused(&der), CsrError::Signature);
}

#[test]
fn somebody_elses_key_needs_somebody_elses_signature() {
    let (one, other) = (HandMade::default().der(), HandMade::default().der());
    let spki = Csr::parse(&one).unwrap().spki_der().to_vec();
    let theirs = Csr::parse(&other).unwrap().spki_der().to_vec();
    let place = one.windows(spki.len()).position(|part| part == spki).unwrap();
    let mut swapped = one.clone();
    swapped.splice(place..place + spki.len(), theirs);
    assert_eq!(refused(&swapped), CsrError::Signature);
}

#[test]
fn a_megabyte_of_extensions_is_refused_before_it_is_parsed() {
    let extensions = extension(&[0x2b, 6, 1, 4, 1, 1], false, &vec![0; 1024 * 1024]);
    let der = HandMade { extensions, ..HandMade::default() }.der();
    assert_eq!(refused(&der), CsrError::TooLarge { size: der.len() });
}

#[test]
fn extensions_below_the_limit_are_ignored() {
    let extensions = extension(&[0x2b, 6, 1, 4, 1, 1], true, &vec![0; 15_000]);
    assert_eq!(Csr::parse(&HandMade { extensions, ..HandMade::default() }.der()).unwrap().spiffe_id(), None);
}

#[test]
fn every_truncation_is_refused() {
    let der = HandMade::with_uris(&["spiffe://market.example/orders"]).der();
    for length in 0..der.len() {
        assert!(Csr::parse(&der[..length]).is_err(), "{length} octets of {}", der.len());
    }
}

#[test]
fn trailing_data_is_refused() {
    let right = HandMade::default().der();
    assert_eq!(refused(&[&right[..], &[0]].concat()), CsrError::TrailingData);
    // The same inside of the outer sequence, behind the signature.
    let (_, outer) = Any::from_der(&right).unwrap();
    assert_eq!(refused(&tlv(0x30, &[outer.data, &[5, 0]].concat())), CsrError::TrailingData);
}

#[test]
fn another_version_is_refused() {
    assert_eq!(refused(&HandMade { version: 2, ..HandMade::default() }.der()), CsrError::Version);
}

#[test]
fn a_request_that_names_its_entry_or_nobody_is_fine_and_one_for_somebody_else_is_not() {
    let same = Csr::parse(&HandMade::with_uris(&["spiffe://market.example/orders"]).der()).unwrap();
    assert!(Request::for_csr(&same, id("/orders")).is_ok());
    assert!(Request::for_csr(&csr(), id("/orders")).is_ok());
    for other in
        ["spiffe://market.example/ledger", "spiffe://other.example/orders", "spiffe://market.example"]
    {
        let csr = Csr::parse(&HandMade::with_uris(&[other]).der()).unwrap();
        let error = Request::for_csr(&csr, id("/orders")).unwrap_err();
        assert_eq!(error.reason(), Reason::CsrIdentityMismatch, "{other}");
    }
}

#[test]
fn two_uris_are_refused_wherever_they_stand() {
    assert_eq!(refused(&recorded("two-uris")), CsrError::ManyUris { count: 2 });
    let uri = tlv(0x30, &tlv(0x86, b"spiffe://market.example/orders"));
    let san = extension(&[0x55, 0x1d, 0x11], false, &uri);
    let der = HandMade { extensions: [san.clone(), san].concat(), ..HandMade::default() }.der();
    assert_eq!(refused(&der), CsrError::ManyUris { count: 2 });
}

#[test]
fn a_uri_that_is_no_spiffe_id_is_refused_with_its_clause() {
    assert_eq!(refused(&recorded("not-spiffe")), CsrError::SpiffeId(SpiffeIdError::WrongScheme));
    for (uri, clause) in [
        ("SPIFFE://market.example/orders", SpiffeIdError::SchemeNotLowerCase),
        ("spiffe://market.example/a/../orders", SpiffeIdError::DotSegment),
        ("spiffe://market.example/orders%00", SpiffeIdError::PercentEncoding),
        ("", SpiffeIdError::Empty),
    ] {
        assert_eq!(refused(&HandMade::with_uris(&[uri]).der()), CsrError::SpiffeId(clause), "{uri}");
    }
}

#[test]
fn a_subject_alternative_name_that_cannot_be_read_is_refused() {
    for value in [vec![], vec![0x30, 0x05], tlv(0x30, &tlv(0x86, &[0xff, 0xfe])), tlv(0x04, &[0])] {
        let der =
            HandMade { extensions: extension(&[0x55, 0x1d, 0x11], false, &value), ..HandMade::default() }
                .der();
        assert_eq!(refused(&der), CsrError::SanUnreadable, "{value:02x?}");
    }
}

#[test]
fn a_name_behind_the_one_that_is_read_is_not_overlooked() {
    let names = |uri: &str| tlv(0x30, &tlv(0x86, uri.as_bytes()));
    let (own, other) = (names("spiffe://market.example/orders"), names("spiffe://market.example/ledger"));
    let san = |value: &[u8]| extension(&[0x55, 0x1d, 0x11], false, value);
    let behind = san(&[own.clone(), other.clone()].concat());
    assert_eq!(
        refused(&HandMade { extensions: behind, ..HandMade::default() }.der()),
        CsrError::SanUnreadable
    );
    // A second list of extensions in the same attribute.
    let second = tlv(0x30, &san(&other));
    let der = HandMade { extensions: san(&own), after_extensions: second, ..HandMade::default() }.der();
    assert_eq!(refused(&der), CsrError::SanUnreadable);
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let mut value = vec![];
    while value.len() < 15_000 {
        value = tlv(0x30, &value);
    }
    let _ = Csr::parse(&value);
    let extensions = extension(&[0x55, 0x1d, 0x11], false, &value);
    let _ = Csr::parse(&HandMade { extensions, ..HandMade::default() }.der());
}

proptest! {
    #[test]
    fn random_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(Csr::parse(&octets).is_err());
    }

    #[test]
    fn changed_octets_never_panic_and_never_pass_for_another_key(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let honest = recorded("p384-sha256");
        let key = Csr::parse(&honest).unwrap().spki_der().to_vec();
        let mut der = honest.clone();
        for (place, octet) in changes {
            let place = place.index(der.len());
            der[place] = octet;
        }
        if let Ok(csr) = Csr::parse(&der) {
            prop_assert_eq!(csr.spki_der(), key);
        }
    }
}
