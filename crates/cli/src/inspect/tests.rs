//! Certificates that break one rule each, and what is said about them.

use super::*;
use avouch_files::pem::{self, Form, Kind, PemError, Wanted};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use std::time::{Duration, SystemTime};

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
    assert_eq!(found.checks.len(), 13);
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
    let none = |form| Err(Unreadable::Pem(PemError::NotPem { wanted: Wanted::Certificates, form }));
    assert_eq!((count(b"hello"), count(b"")), (none(Form::Text), none(Form::Empty)));
    let marked = format!("\u{feff}{}\u{feff}{}", pem(&orders()), pem(&orders()));
    assert_eq!(count(marked.as_bytes()), Ok(2));
    let bundle = b"\xef\xbb\xbf {\"keys\": []}";
    assert!(Document::parse(bundle).unwrap().bundle.is_some());
}

#[test]
fn a_damaged_block_is_named_beside_the_good_ones_and_no_chain_is_made_of_the_rest() {
    let good = pem::encode("CERTIFICATE", &der(&orders()));
    let damaged = good.replacen("\nMII", "\nM*I", 1);
    let line = good.lines().count() + 1;
    let error = PemError::Base64 { kind: Kind::Certificate, line };
    let found = Document::parse(format!("{good}{damaged}").as_bytes()).unwrap();
    assert_eq!((found.certificates.len(), found.damaged.as_slice()), (1, &[error][..]));
    assert_eq!(found.whole(), Err(Unreadable::Pem(error)));
    let trusted = pem::encode("TRUSTED CERTIFICATE", &[1]);
    let found = Document::parse(format!("{good}{trusted}").as_bytes()).unwrap();
    assert!(matches!(found.damaged[..], [PemError::OpenSslOnly { .. }]), "{found:?}");
    assert!(matches!(
        Document::parse(trusted.as_bytes()),
        Err(Unreadable::Pem(PemError::OpenSslOnly { .. }))
    ));
    for text in [good.replace('\n', " "), good.replace('\n', "\\n"), good.replace("-----END", "")] {
        assert!(matches!(Document::parse(text.as_bytes()), Err(Unreadable::Pem(_))), "{text}");
    }
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

#[test]
fn a_file_is_known_by_what_is_in_it() {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let parse = |content: &[u8]| Document::parse(content).unwrap();
    let found = parse(format!("{}{}", key.serialize_pem(), request.pem().unwrap()).as_bytes());
    assert_eq!((found.requests.len(), found.certificates.len(), found.has_key), (1, 0, true));
    assert_eq!(parse(request.der()).requests.len(), 1);
    let alone = Document::parse(key.serialize_pem().as_bytes());
    assert_eq!(alone, Err(Unreadable::Key(Kind::Pkcs8Key, None)));
    for (content, kind) in [
        (pem::encode("ENCRYPTED PRIVATE KEY", &[1]), Kind::EncryptedKey),
        (pem::encode("PUBLIC KEY", &[1]), Kind::PublicKey),
        (pem::encode("OPENSSH PRIVATE KEY", &[1]), Kind::OpenSshKey),
    ] {
        let wrong = Some(PemError::Absent { wanted: Wanted::Key, found: kind });
        assert_eq!(Document::parse(content.as_bytes()), Err(Unreadable::Key(kind, wrong)), "{content}");
    }
    let der = Document::parse(key.serialized_der());
    assert!(matches!(der, Err(Unreadable::Key(Kind::Pkcs8Key, Some(_)))), "{der:?}");
    let form = Form::Pkcs12;
    assert_eq!(
        Document::parse(&[0x30, 7, 2, 1, 3, 0x30, 2, 5, 0]),
        Err(Unreadable::Pem(PemError::NotPem { wanted: Wanted::Certificates, form }))
    );
    assert!(matches!(Document::parse(b" {\"keys\": 1}"), Err(Unreadable::Json(_))));
    assert!(matches!(Document::parse(b"{"), Err(Unreadable::Json(_))));
    let empty = parse(b"{\"keys\": []}");
    assert!(
        empty.certificates.is_empty() && empty.bundle.is_some(),
        "everything is revoked, which is a bundle"
    );
}

/// The items of a request end as the issuer's own reading does: on requests that were made to mislead it.
#[test]
fn a_request_passes_if_and_only_if_the_issuer_would_read_it() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/csr");
    let mut verdicts = [0, 0];
    for entry in std::fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        let der = std::fs::read(&path).unwrap();
        let passes = inspect_request(&der).passes();
        let issuers = avouch_issuance::Csr::parse(&der);
        assert_eq!(passes, issuers.is_ok(), "{}: {issuers:?}", path.display());
        verdicts[usize::from(passes)] += 1;
    }
    assert!(verdicts[0] >= 3 && verdicts[1] >= 2, "{verdicts:?}");
}

#[test]
fn what_the_issuer_does_not_read_of_a_request_is_said() {
    let mut params = orders();
    params.serial_number = None;
    params.is_ca = IsCa::NoCa;
    params.subject_alt_names.push(SanType::DnsName("localhost".try_into().unwrap()));
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let found = inspect_request(request.der());
    let text = found.to_text(1, 1);
    assert!(
        found.passes() && text.contains("DNS name localhost") && text.contains("does not read"),
        "{text}"
    );
    assert_eq!(found.to_json()["uris"][0], "spiffe://market.example/orders");
}

#[test]
fn what_a_stranger_names_itself_reaches_no_terminal_as_it_is() {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "a\u{1b}[2Jb\nserver\u{202e}x");
    params.subject_alt_names = vec![SanType::DnsName("a\u{1b}[2Jb".try_into().unwrap())];
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let (request, leaf) = (inspect_request(request.der()), inspect(&der(&params)));
    let now = SystemTime::UNIX_EPOCH;
    for text in [request.to_text(1, 1), leaf.to_text(1, 1, now), leaf.to_line(now)] {
        assert!(text.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("server")), "{text:?}");
    }
}

#[test]
fn each_broken_rule_of_a_bundle_is_named() {
    let of = |json: &str| {
        let bundle = serde_json::from_str(json).unwrap();
        let value = inspect_bundle(&bundle).to_json();
        let failed: Vec<String> = value["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["ok"] == false)
            .map(|check| check["id"].as_str().unwrap().to_owned())
            .collect();
        failed
    };
    assert_eq!(of(r#"{"keys": [], "spiffe_sequence": 7, "spiffe_refresh_hint": 300}"#), [""; 0]);
    assert_eq!(of(r#"{"keys": [{"use": "jwt-svid", "kid": "a"}]}"#), [""; 0], "another use is ignored");
    assert_eq!(of(r#"{"keys": [], "spiffe_sequence": -1}"#), ["AV-025"]);
    assert_eq!(of(r#"{"keys": [], "spiffe_refresh_hint": 1.5}"#), ["AV-026"]);
    assert_eq!(of(r#"{"keys": [{"use": "x509-svid", "x5c": ["a"]}]}"#), ["AV-027"]);
    assert_eq!(of(r#"{"keys": [{"use": "x509-svid", "kty": "EC", "kid": "a", "x5c": ["a"]}]}"#), ["AV-028"]);
    assert_eq!(of(r#"{"keys": [{"use": "x509-svid", "kty": "EC"}]}"#), ["AV-029"]);
    assert_eq!(of(r#"{"keys": [{"use": "x509-svid", "kty": "EC", "x5c": ["a"]}]}"#), ["AV-000"]);
}
