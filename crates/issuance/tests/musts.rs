//! Every MUST that binds an issuer of X.509-SVIDs, by the number it has in the SPIFFE checklist (`docs/`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod support;

use avouch_issuance::{CaError, IssuanceError, PrivateKey, Request, SigningAuthority, SystemEntropy};
use avouch_spiffe::x509::{Authority, AuthorityError, CertificateInfo, Leaf, SvidError};
use avouch_spiffe::{Bundle, SpiffeId};
use support::{Ca, csr, domain, id, now};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_X509_EXT_NAME_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME};

fn parsed(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

/// The leaf, the signing authority and the root, as DER.
fn all(ca: &Ca) -> [Vec<u8>; 3] {
    let issued = ca.svid("/orders");
    assert_eq!(issued.chain().len(), 2, "the root stays in the bundle");
    [issued.chain()[0].to_vec(), issued.chain()[1].to_vec(), ca.root.certificate().der().to_vec()]
}

#[test]
fn must_06_the_signing_authority_bears_an_svid_of_its_trust_domain_without_path() {
    let ca = Ca::new();
    for authority in [ca.authority.certificate(), ca.root.certificate()] {
        assert_eq!(authority.spiffe_id(), Some(&domain().id()));
        assert_eq!(CertificateInfo::parse(authority.der()).unwrap().uris, ["spiffe://market.example"]);
    }
}

#[test]
fn must_06_an_authority_without_an_id_of_the_trust_domain_is_not_loaded() {
    let ca = Ca::new();
    let other = Bundle::new("other.example".parse().unwrap(), vec![ca.root.certificate().clone()], 1);
    let key = PrivateKey::from_pkcs8_pem(&ca.authority_key_pem).unwrap();
    let error = SigningAuthority::load(&other, ca.authority.certificate().der(), key).unwrap_err();
    assert!(matches!(error, CaError::TrustDomain(_)), "{error}");
}

#[test]
fn must_07_id_and_key_are_inside_the_signed_portion() {
    let csr = csr();
    let issued = Ca::new().issue(Request::for_csr(&csr, id("/orders")).unwrap());
    let certificate = parsed(&issued.chain()[0]);
    let signed = certificate.tbs_certificate.as_ref();
    assert!(signed.windows(28).any(|part| part == b"spiffe://market.example/orde"));
    assert!(signed.windows(csr.spki_der().len()).any(|part| part == csr.spki_der()));
}

#[test]
fn must_08_exactly_one_uri_san() {
    let ca = Ca::new();
    let names = ["orders.market.example", "localhost"].map(|name| name.parse().unwrap());
    let issued = ca.issue(Request::for_csr(&csr(), id("/orders")).unwrap().dns_names(names));
    let facts = CertificateInfo::parse(&issued.chain()[0]).unwrap();
    assert_eq!(facts.uris, ["spiffe://market.example/orders"]);
    assert_eq!(facts.dns, ["orders.market.example", "localhost"]);
}

#[test]
fn must_09_the_leaf_id_has_a_path() {
    let ca = Ca::new();
    let request = Request::for_csr(&csr(), domain().id()).unwrap();
    let error = request.check(&ca.profiles.svid, &ca.authority, now(), &SystemEntropy).unwrap_err();
    assert!(matches!(error, IssuanceError::NoPath(_)), "{error}");
    let request = Request::for_own_key(&PrivateKey::generate().unwrap(), domain().id());
    assert!(request.check(&ca.profiles.svid, &ca.authority, now(), &SystemEntropy).is_err());
}

#[test]
fn must_10_the_san_is_critical_because_the_subject_is_empty() {
    let issued = Ca::new().svid("/orders");
    let certificate = parsed(&issued.chain()[0]);
    assert_eq!(certificate.subject().iter_rdn().count(), 0);
    let san =
        certificate.tbs_certificate.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME).unwrap().unwrap();
    assert!(san.critical);
}

#[test]
fn must_11_a_signing_certificate_has_no_path_and_never_authenticates() {
    let ca = Ca::new();
    for authority in [ca.authority.certificate(), ca.root.certificate()] {
        assert!(authority.spiffe_id().is_some_and(SpiffeId::is_root));
        let facts = CertificateInfo::parse(authority.der()).unwrap();
        assert!(facts.extended_key_usage.is_empty());
        assert_eq!(facts.key_usage, ["keyCertSign", "cRLSign"], "no digitalSignature: TLS has no use for it");
        assert_eq!(Leaf::parse(authority.der()), Err(SvidError::IsCa));
    }
}

#[test]
fn must_11_a_signing_certificate_with_a_path_is_not_loaded() {
    let ca = Ca::new();
    let key = PrivateKey::generate().unwrap();
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &key.pkcs8_der().to_vec().into(),
        &rcgen::PKCS_ECDSA_P256_SHA256,
    )
    .unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let uri = "spiffe://market.example/avouch/issuer".try_into().unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    let der = params.self_signed(&pair).unwrap().der().clone();
    let error = SigningAuthority::load(&ca.bundle(), &der, key).unwrap_err();
    assert!(matches!(error, CaError::Certificate(AuthorityError::SpiffeIdWithPath)), "{error}");
}

#[test]
fn must_12_ca_is_true_on_signing_certificates_and_false_on_leaves() {
    let ca = Ca::new();
    let [leaf, authority, root] = all(&ca);
    for (der, is_ca, path_len) in [(leaf, false, None), (authority, true, Some(0)), (root, true, Some(1))] {
        let certificate = parsed(&der);
        let constraints = certificate.basic_constraints().unwrap().expect("explicit, not by default");
        assert!(constraints.critical);
        assert_eq!((constraints.value.ca, constraints.value.path_len_constraint), (is_ca, path_len));
    }
}

#[test]
fn must_13_key_usage_is_there_and_critical_and_fits() {
    let ca = Ca::new();
    let [leaf, authority, root] = all(&ca);
    for der in [&leaf, &authority, &root] {
        assert!(parsed(der).key_usage().unwrap().unwrap().critical);
    }
    assert_eq!(CertificateInfo::parse(&leaf).unwrap().key_usage, ["digitalSignature"]);
    for der in [&authority, &root] {
        assert!(CertificateInfo::parse(der).unwrap().key_usage.contains(&"keyCertSign"));
    }
}

#[test]
fn must_14_extended_key_usage_has_server_and_client_auth() {
    let issued = Ca::new().svid("/orders");
    assert_eq!(
        CertificateInfo::parse(&issued.chain()[0]).unwrap().extended_key_usage,
        ["serverAuth", "clientAuth"]
    );
}

#[test]
fn must_17_a_bundle_key_says_its_use_has_no_kid_and_one_certificate() {
    let ca = Ca::new();
    let json = ca.bundle().to_json();
    assert!(json.contains("\"use\": \"x509-svid\""), "{json}");
    assert!(!json.contains("kid"), "{json}");
    let again = Bundle::from_json(domain(), json.as_bytes()).unwrap();
    assert_eq!(again, ca.bundle());
    let x5c = json.split_once("\"x5c\": [").unwrap().1.split_once(']').unwrap().0;
    assert_eq!(x5c.matches('"').count(), 2, "exactly one value: {x5c}");
    assert!(Authority::parse(again.authorities()[0].der()).is_ok());
}

#[test]
fn no_certificate_has_name_constraints() {
    for der in all(&Ca::new()) {
        assert!(!parsed(&der).extensions().iter().any(|found| found.oid == OID_X509_EXT_NAME_CONSTRAINTS));
    }
}
