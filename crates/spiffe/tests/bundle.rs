//! Authorities, bundles and the SPIFFE bundle format.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod support;

use std::time::Duration;

use avouch_spiffe::x509::{Authority, AuthorityError, MalformedCertificate};
use avouch_spiffe::{Bundle, BundleError, BundleSet, Reason, SpiffeIdError, TrustDomain};
use rcgen::{DnType, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use support::{BASIC_CONSTRAINTS, KEY_USAGE, by_hand, extension, leaf, root, sign, sign_with, uri};

fn domain() -> TrustDomain {
    "market.example".parse().unwrap()
}

fn refused(change: impl FnOnce(&mut rcgen::CertificateParams)) -> AuthorityError {
    let mut params = root();
    change(&mut params);
    Authority::parse(&sign(&params)).unwrap_err()
}

fn bundle_of(roots: usize) -> Bundle {
    let ders: Vec<_> = (0..roots).map(|_| sign(&root())).collect();
    Bundle::from_ders(domain(), &ders, 7).unwrap()
}

fn read(value: &Value) -> Result<Bundle, BundleError> {
    Bundle::from_json(domain(), value.to_string().as_bytes())
}

fn written(bundle: &Bundle) -> Value {
    serde_json::from_str(&bundle.to_json()).unwrap()
}

#[test]
fn a_right_authority_gives_its_facts() {
    let der = sign(&root());
    let authority = Authority::parse(&der).unwrap();
    assert_eq!(authority.der(), der);
    assert_eq!(authority.subject(), "CN=market.example root");
    assert_eq!(authority.issuer(), authority.subject());
    assert_eq!(authority.spiffe_id(), Some(&domain().id()));
    assert_eq!(authority.path_len(), None);
    assert_eq!(authority.fingerprint().len(), 64);
    assert!(authority.key_id().is_some());
    let shown = format!("{authority:?}");
    assert!(shown.contains(&authority.fingerprint()) && !shown.contains("der"), "{shown}");
}

#[test]
fn each_clause_of_an_authority_has_its_own_refusal() {
    assert_eq!(refused(|params| params.is_ca = leaf().is_ca), AuthorityError::NotCa);
    assert_eq!(refused(|params| params.is_ca = rcgen::IsCa::NoCa), AuthorityError::NotCa);
    assert_eq!(refused(|params| params.key_usages.clear()), AuthorityError::KeyUsageMissing);
    let crl_only = refused(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(crl_only, AuthorityError::KeyCertSignMissing);
    let not_critical = refused(|params| {
        params.key_usages.clear();
        params.custom_extensions = vec![extension(KEY_USAGE, false, vec![0x03, 0x02, 0x01, 0x06])];
    });
    assert_eq!(not_critical, AuthorityError::KeyUsageNotCritical);
    let not_critical = refused(|params| {
        params.is_ca = rcgen::IsCa::NoCa;
        params.custom_extensions = vec![extension(BASIC_CONSTRAINTS, false, vec![0x30, 3, 1, 1, 0xff])];
    });
    assert_eq!(not_critical, AuthorityError::BasicConstraintsNotCritical);
    let unknown = refused(|params| params.custom_extensions = vec![extension(&[1, 3, 9], true, vec![5, 0])]);
    assert_eq!(unknown, AuthorityError::UnknownCriticalExtension { oid: "1.3.9".to_owned() });
    for (serial, error) in [
        (vec![0], AuthorityError::SerialNotPositive),
        (vec![0x80, 1], AuthorityError::SerialNotPositive),
        (vec![0x11; 21], AuthorityError::SerialTooLong),
    ] {
        let der = by_hand(|parts| parts.serial = serial);
        assert_eq!(Authority::parse(&der), Err(error.clone()));
        assert_eq!(error.reason(), Reason::CertUntrusted);
    }
    let trailing = Authority::parse(&[sign(&root()), vec![0]].concat()).unwrap_err();
    assert_eq!(trailing, AuthorityError::Malformed(MalformedCertificate::TrailingData));
}

#[test]
fn an_authoritys_spiffe_id_has_no_path_and_stands_alone() {
    let path = refused(|params| params.subject_alt_names = vec![uri("spiffe://market.example/ca")]);
    assert_eq!(path, AuthorityError::SpiffeIdWithPath);
    let two = refused(|params| params.subject_alt_names.push(uri("https://market.example")));
    assert_eq!(two, AuthorityError::ManyUris { others: 1 });
    let upper = refused(|params| params.subject_alt_names = vec![uri("SPIFFE://market.example")]);
    assert_eq!(upper, AuthorityError::SpiffeId(SpiffeIdError::SchemeNotLowerCase));
}

#[test]
fn an_authority_needs_no_spiffe_id() {
    for names in [vec![], vec![uri("https://ca.example/")]] {
        let mut params = root();
        params.subject_alt_names = names;
        assert_eq!(Authority::parse(&sign(&params)).unwrap().spiffe_id(), None);
    }
}

#[test]
fn a_bundle_survives_its_json_form() {
    for roots in [0, 1, 3] {
        let bundle = bundle_of(roots).with_refresh_hint(Duration::from_secs(300));
        assert_eq!(Bundle::from_json(domain(), bundle.to_json().as_bytes()), Ok(bundle));
    }
}

#[test]
fn keys_of_every_type_have_the_parameters_of_their_type() {
    for (algorithm, kty, crv, parameters) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, "EC", "P-256", &["x", "y"][..]),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "EC", "P-384", &["x", "y"]),
        (&rcgen::PKCS_ECDSA_P521_SHA512, "EC", "P-521", &["x", "y"]),
        (&rcgen::PKCS_ED25519, "OKP", "Ed25519", &["x"]),
    ] {
        let der = sign_with(&root(), &KeyPair::generate_for(algorithm).unwrap());
        let bundle = Bundle::from_ders(domain(), &[der], 1).unwrap();
        let json = written(&bundle);
        let key = &json["keys"][0];
        assert_eq!((&key["kty"], &key["crv"]), (&json!(kty), &json!(crv)));
        assert!(parameters.iter().all(|name| key[name].is_string()), "{key}");
        assert_eq!(Bundle::from_json(domain(), json.to_string().as_bytes()), Ok(bundle));
    }
}

#[test]
fn an_rsa_root_has_modulus_and_exponent_without_leading_zeros() {
    let der = support::by_hand(|parts| {
        parts.spki = support::rsa_spki(2048);
        parts.extensions = vec![
            support::raw_extension(0x13, true, &[0x30, 3, 1, 1, 0xff]),
            support::raw_extension(0x0f, true, &[0x03, 0x02, 0x01, 0x06]),
        ];
    });
    let key = written(&Bundle::from_ders(domain(), &[der], 1).unwrap())["keys"][0].clone();
    assert_eq!((&key["kty"], &key["e"]), (&json!("RSA"), &json!("AQAB")));
    assert!(key["n"].as_str().is_some_and(|n| n.len() == 342 && n.starts_with('_')), "{key}");
}

#[test]
fn must_17_use_is_x509_svid_kid_is_absent_and_x5c_has_one_certificate() {
    let json = written(&bundle_of(2));
    for key in json["keys"].as_array().unwrap() {
        assert_eq!(key["use"], "x509-svid");
        assert!(key.get("kid").is_none());
        assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn must_18_keys_without_certificate_are_ignored_and_only_the_first_counts() {
    let mut json = written(&bundle_of(2));
    let second = json["keys"][1]["x5c"][0].clone();
    json["keys"][0]["x5c"].as_array_mut().unwrap().extend([second, json!("not base64")]);
    json["keys"][1].as_object_mut().unwrap().remove("x5c");
    json["keys"].as_array_mut().unwrap().push(json!({"kty": "EC", "use": "x509-svid", "x5c": []}));
    assert_eq!(read(&json).unwrap().authorities().len(), 1);
}

#[test]
fn must_20_unknown_parameters_are_ignored() {
    let bundle = bundle_of(1);
    let mut json = written(&bundle);
    json["spiffe_unknown"] = json!({"deep": [1]});
    json["keys"][0]["unknown"] = json!(true);
    json["keys"][0]["kid"] = json!("tolerated when read");
    assert_eq!(read(&json), Ok(bundle));
}

#[test]
fn must_21_the_sequence_keeps_64_bits_and_anything_but_an_integer_is_refused() {
    let mut json = written(&bundle_of(1));
    json["spiffe_sequence"] = json!(u64::MAX);
    assert_eq!(read(&json).unwrap().sequence(), u64::MAX);
    for wrong in [json!(-1), json!(1.5), json!("1"), json!([1])] {
        json["spiffe_sequence"] = wrong;
        assert_eq!(read(&json), Err(BundleError::Sequence));
    }
    json.as_object_mut().unwrap().remove("spiffe_sequence");
    assert_eq!(read(&json).unwrap().sequence(), 0);
}

#[test]
fn must_22_the_refresh_hint_is_an_integer_of_seconds() {
    let mut json = written(&bundle_of(1));
    assert!(json.get("spiffe_refresh_hint").is_none());
    json["spiffe_refresh_hint"] = json!(300);
    assert_eq!(read(&json).unwrap().refresh_hint(), Some(Duration::from_secs(300)));
    for wrong in [json!(-1), json!(0.5), json!("300")] {
        json["spiffe_refresh_hint"] = wrong;
        assert_eq!(read(&json), Err(BundleError::RefreshHint));
    }
}

#[test]
fn must_23_keys_must_be_there_and_empty_keys_revoke_everything() {
    assert_eq!(read(&json!({"spiffe_sequence": 1})), Err(BundleError::KeysMissing));
    assert_eq!(read(&json!({"keys": null})), Err(BundleError::KeysMissing));
    let revoked = read(&json!({"keys": [], "spiffe_sequence": 9})).unwrap();
    assert!(revoked.authorities().is_empty());
    assert_eq!(revoked.sequence(), 9);
    let mut set: BundleSet = [bundle_of(1)].into_iter().collect();
    set.insert(revoked);
    assert!(set.get(&domain()).unwrap().authorities().is_empty(), "known, and nothing in it is trusted");
}

#[test]
fn must_24_keys_of_missing_or_unknown_use_or_type_are_ignored() {
    let mut json = written(&bundle_of(5));
    let keys = json["keys"].as_array_mut().unwrap();
    keys[0].as_object_mut().unwrap().remove("use");
    keys[1]["use"] = json!("jwt-svid");
    keys[2]["kty"] = json!("quantum");
    keys[3].as_object_mut().unwrap().remove("kty");
    keys.extend([json!(null), json!(1), json!("key"), json!({"use": 1, "kty": []})]);
    assert_eq!(read(&json).unwrap().authorities().len(), 1);
}

#[test]
fn an_authority_that_cannot_be_read_is_an_error_and_not_silently_lost() {
    let mut json = written(&bundle_of(2));
    json["keys"][1]["x5c"][0] = json!("%%%");
    assert_eq!(read(&json), Err(BundleError::Encoding { index: 1 }));
    json["keys"][1]["x5c"][0] = json!("AAAA");
    assert!(matches!(read(&json), Err(BundleError::Authority { index: 1, .. })));
    let error = Bundle::from_ders(domain(), &[sign(&root()), sign(&leaf())], 1).unwrap_err();
    assert_eq!(error, BundleError::Authority { index: 1, error: AuthorityError::NotCa });
}

#[test]
fn what_is_no_json_object_is_refused_with_its_place() {
    for text in ["", "[]", "null", "{\"keys\": {}}", "{\"keys\": []} x", "{\"keys\": [], \"keys\": []}"] {
        let error = Bundle::from_json(domain(), text.as_bytes()).unwrap_err();
        assert!(matches!(error, BundleError::Json { .. }), "{text}: {error}");
    }
    let large = format!("{{\"keys\": [], \"x\": \"{}\"}}", "a".repeat(4 * 1024 * 1024));
    assert_eq!(Bundle::from_json(domain(), large.as_bytes()), Err(BundleError::TooLarge));
}

#[test]
fn deeply_nested_json_does_not_overflow_the_stack() {
    let nested = format!("{{\"keys\": [{}{}]}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Bundle::from_json(domain(), nested.as_bytes()).is_err());
}

#[test]
fn an_authority_that_is_there_twice_is_kept_once() {
    let der = sign(&root());
    assert_eq!(Bundle::from_ders(domain(), &[der.clone(), der], 1).unwrap().authorities().len(), 1);
}

#[test]
fn must_19_a_set_answers_for_exactly_the_trust_domain_asked_for() {
    let mut set = BundleSet::new();
    assert!(set.is_empty());
    assert!(set.insert(bundle_of(1)).is_none());
    let mut params = root();
    params.distinguished_name.push(DnType::OrganizationName, "other");
    let other: TrustDomain = "other.example".parse().unwrap();
    set.insert(Bundle::from_ders(other.clone(), &[sign(&params)], 1).unwrap());
    assert_eq!(set.len(), 2);
    assert_eq!(set.get(&other).unwrap().trust_domain(), &other);
    for absent in ["example", "market.example.evil", "arket.example"] {
        assert!(set.get(&absent.parse().unwrap()).is_none(), "{absent}");
    }
    assert_eq!(set.insert(bundle_of(2)).unwrap().authorities().len(), 1);
    assert_eq!(set.iter().map(|bundle| bundle.authorities().len()).sum::<usize>(), 3, "never merged");
}
