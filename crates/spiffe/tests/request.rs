//! What a certificate signing request says, item by item, as the issuer and an inspection read it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use avouch_spiffe::x509::{CertificateRequest, KeyAlgorithm, NoPossession, NotARequest, RequestedOther};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};

fn request(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    params.serialize_request(key).unwrap().der().to_vec()
}

#[test]
fn everything_that_a_request_asks_for_is_listed_in_its_order() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let der = request(&key, |params| {
        params.distinguished_name.push(DnType::CommonName, "a\u{202e}b");
        let uri = "spiffe://market.example/a".try_into().unwrap();
        let dns = "a.example".try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::DnsName(dns), rcgen::SanType::URI(uri)];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let read = CertificateRequest::parse(&der).unwrap();
    assert!(read.is_exact());
    assert_eq!((read.version(), read.subject()), (1, "CN=a\\e2\\80\\aeb"));
    assert_eq!(read.key_algorithm(), Ok(KeyAlgorithm::EcdsaP384));
    assert_eq!(read.signature_name(), Some("ECDSA with SHA-384"));
    assert_eq!(read.verify_possession(), Ok(()));
    let names = read.names().unwrap();
    assert_eq!(names.uris, ["spiffe://market.example/a"]);
    assert_eq!(names.others.first(), Some(&RequestedOther::DnsName("a.example".to_owned())));
    assert!(names.others.contains(&RequestedOther::Ca(true)), "{names:?}");
}

#[test]
fn one_thing_that_is_wrong_hides_nothing_else() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let mut der = request(&key, |_| {});
    let last = der.last_mut().unwrap();
    *last ^= 1;
    let read = CertificateRequest::parse(&der).unwrap();
    assert_eq!(read.verify_possession(), Err(NoPossession::Signature));
    assert_eq!((read.subject(), read.names().map(|names| names.uris.len())), ("", Ok(0)));
    der.push(0);
    let read = CertificateRequest::parse(&der).unwrap();
    assert!(!read.is_exact());
    assert_eq!(read.key_algorithm(), Ok(KeyAlgorithm::EcdsaP384));

    let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let read = CertificateRequest::parse(&request(&other, |_| {})).unwrap();
    assert_eq!((read.key_algorithm(), read.signature_name()), (Ok(KeyAlgorithm::Ed25519), None));
    assert_eq!(read.verify_possession(), Err(NoPossession::Algorithm));
    assert_eq!(CertificateRequest::parse(b"0").err(), Some(NotARequest));
}
