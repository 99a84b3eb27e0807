//! Octets from nowhere, and certificates with octets changed, cut or doubled: refused or read, never a panic; and
//! whatever is taken for a leaf has the properties of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod support;

use avouch_spiffe::x509::{Authority, CertificateInfo, KeyAlgorithm, Leaf};
use avouch_spiffe::{Bundle, JoinToken};
use proptest::prelude::*;
use proptest::sample::Index;
use support::{by_hand, leaf, root, sign};

fn all(der: &[u8]) {
    if let Ok(leaf) = Leaf::parse(der) {
        assert!(!leaf.spiffe_id().is_root());
        assert!(leaf.not_before() <= leaf.not_after());
        assert!(leaf.serial().len() <= 40 && leaf.serial().chars().any(|c| c != '0'));
        assert!(!CertificateInfo::parse(der).unwrap().ca);
    }
    if let Ok(authority) = Authority::parse(der) {
        assert!(CertificateInfo::parse(der).unwrap().ca);
        let bundle = Bundle::new("market.example".parse().unwrap(), vec![authority], 1);
        let json = bundle.to_json();
        assert_eq!(Bundle::from_json("market.example".parse().unwrap(), json.as_bytes()), Ok(bundle));
    }
    let _ = CertificateInfo::parse(der);
    let _ = KeyAlgorithm::of_spki(der);
}

fn changed(mut der: Vec<u8>, changes: &[(Index, u8)]) -> Vec<u8> {
    for (place, octet) in changes {
        let place = place.index(der.len());
        der[place] = *octet;
    }
    der
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..1024)) {
        all(&octets);
        let _ = Bundle::from_json("market.example".parse().unwrap(), &octets);
    }

    #[test]
    fn changed_certificates_never_panic(changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6)) {
        for der in [sign(&leaf()), sign(&root()), by_hand(|_| {})] {
            all(&changed(der, &changes));
        }
    }

    #[test]
    fn certificates_cut_apart_never_panic(from in any::<Index>(), to in any::<Index>()) {
        let der = sign(&leaf());
        let (from, to) = (from.index(der.len()), to.index(der.len()));
        all(&der[from.min(to)..from.max(to)]);
        all(&[&der[..from], &der[to..]].concat());
    }

    #[test]
    fn random_extension_values_never_panic(last in any::<u8>(), critical in any::<bool>(), value in proptest::collection::vec(any::<u8>(), 0..64)) {
        all(&by_hand(|parts| parts.extensions.push(support::raw_extension(last & 0x3f, critical, &value))));
        all(&by_hand(|parts| parts.extensions = vec![support::raw_extension(last & 0x3f, critical, &value)]));
    }

    #[test]
    fn random_keys_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..128)) {
        let key = support::tlv(0x30, &octets);
        all(&by_hand(|parts| parts.spki = key));
    }

    #[test]
    fn random_texts_are_no_join_tokens(text in any::<String>()) {
        prop_assert!(text.parse::<JoinToken>().is_err());
        let prefixed = format!("avjt1.{text}");
        prop_assert!(prefixed.parse::<JoinToken>().is_err());
    }

    #[test]
    fn a_join_token_survives_its_string_form(secret in "[A-Za-z0-9_-]{16,256}", pins in proptest::collection::vec(any::<[u8; 32]>(), 1..=16)) {
        let issuer = "spiffe://market.example/avouch/issuer".parse().unwrap();
        let token = JoinToken::new(secret, issuer, pins).unwrap();
        prop_assert_eq!(token.encode().parse::<JoinToken>().unwrap(), token);
    }
}
