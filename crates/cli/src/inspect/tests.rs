//! Certificates that break one rule each, and what is said about them.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use std::time::Duration;

fn params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).to_owned().try_into().unwrap())).collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from_slice(&[1, 2, 3]));
    params
}

fn orders() -> CertificateParams {
    params(&["spiffe://market.example/orders"])
}

fn der(params: &CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn failed(params: &CertificateParams) -> Vec<&'static str> {
    let found = inspect(&der(params));
    assert_eq!(found.passes(), found.checks.iter().all(|check| check.failure.is_none()));
    found.checks.iter().filter(|check| check.failure.is_some()).map(|check| check.id).collect()
}

#[test]
fn a_good_svid_passes_every_item() {
    let found = inspect(&der(&orders()));
    assert!(found.passes());
    assert_eq!(found.checks.len(), 12);
    let text = found.to_text(1, 2, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    assert!(text.starts_with("certificate 1 of 2: X.509-SVID spiffe://market.example/orders\n"), "{text}");
    assert!(text.contains("  serial     010203\n") && text.contains("    ok    X509-SVID 2 "), "{text}");
}

#[test]
fn each_broken_rule_is_named_by_its_item() {
    let change = |change: fn(&mut CertificateParams)| {
        let mut params = orders();
        change(&mut params);
        failed(&params)
    };
    assert_eq!(failed(&params(&[])), ["AV-001", "AV-002", "AV-003", "AV-004"]);
    assert_eq!(failed(&params(&["spiffe://a/x", "spiffe://a/y"])), ["AV-001"]);
    assert_eq!(failed(&params(&["https://market.example/x"])), ["AV-002", "AV-003"]);
    assert_eq!(failed(&params(&["spiffe://market.example"])), ["AV-003"]);
    assert_eq!(change(|p| p.key_usages.clear()), ["AV-006", "AV-007"]);
    assert_eq!(change(|p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]), ["AV-007"]);
    assert_eq!(change(|p| p.key_usages.push(KeyUsagePurpose::CrlSign)), ["AV-008"]);
    assert_eq!(change(|p| p.extended_key_usages.clear()), ["AV-009"]);
    assert_eq!(change(|p| p.extended_key_usages.truncate(1)), ["AV-009"]);
    assert_eq!(change(|p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::Any)), ["AV-009"]);
    assert_eq!(change(|p| p.serial_number = Some(SerialNumber::from_slice(&[0x7f; 21]))), ["AV-010"]);
    assert_eq!(
        change(|p| {
            let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            unknown.set_criticality(true);
            p.custom_extensions.push(unknown);
        }),
        ["AV-012"]
    );
}

#[test]
fn a_signing_certificate_is_judged_as_one() {
    let mut ca = params(&["spiffe://market.example"]);
    ca.distinguished_name.push(DnType::CommonName, "root");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.extended_key_usages.clear();
    let found = inspect(&der(&ca));
    assert_eq!((found.kind, found.passes()), ("signing certificate", true));
    let mut with_path = ca.clone();
    with_path.subject_alt_names = params(&["spiffe://market.example/x"]).subject_alt_names;
    assert_eq!(failed(&with_path), ["AV-024"]);
    let mut cannot_sign = ca;
    cannot_sign.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert_eq!(failed(&cannot_sign), ["AV-023"]);
}

#[test]
fn every_pem_block_is_found_between_whatever_else_a_tool_prints() {
    let pem = |params: &CertificateParams| params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let text = format!("CONNECTED(00000003)\n 0 s:\n{}---\n 1 s:\n{}---\n", pem(&orders()), pem(&orders()));
    let count = |content: &[u8]| Document::parse(content).map(|found| found.certificates.len());
    assert_eq!(count(text.as_bytes()), Ok(2));
    assert_eq!(count(&der(&orders())), Ok(1));
    assert_eq!((count(b"hello"), count(b"")), (Err(Unreadable::Nothing), Err(Unreadable::Nothing)));
}

#[test]
fn what_is_no_certificate_is_shown_as_such_and_fails() {
    for broken in [&b"\x30\x03abc"[..], b"\x30", b"\x30\x80\x00\x00"] {
        let found = inspect(broken);
        assert!(!found.passes());
        assert!(found.to_text(1, 1, SystemTime::UNIX_EPOCH).contains("not readable"));
        assert!(found.to_json(SystemTime::UNIX_EPOCH).get("error").is_some());
    }
}

#[test]
fn json_has_the_facts_and_the_items() {
    let value = inspect(&der(&orders())).to_json(SystemTime::UNIX_EPOCH);
    assert_eq!(value["uris"][0], "spiffe://market.example/orders");
    assert_eq!(value["ok"], true);
    assert_eq!(value["checks"][0]["id"], "AV-001");
    assert_eq!(value["kind"], "X.509-SVID");
}
