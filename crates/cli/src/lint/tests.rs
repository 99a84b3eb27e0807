//! Certificates that break one rule each, and the finding that says so; and bytes that are none.

use super::*;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use std::time::Duration;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn now() -> SystemTime {
    NOW + Duration::from_secs(1_800_000_000)
}

struct Ca {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.subject_alt_names = vec![SanType::URI("spiffe://market.example".to_owned().try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from_slice(&[9; 16]));
    params.not_before = (now() - Duration::from_secs(3600)).into();
    params.not_after = (now() + Duration::from_secs(90 * 86_400)).into();
    params
}

fn ca(params: &CertificateParams) -> Ca {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Ca { certificate, issuer: Issuer::new(params.clone(), key) }
}

fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names =
        vec![SanType::URI("spiffe://market.example/orders".to_owned().try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from_slice(&[7; 16]));
    params.not_before = (now() - Duration::from_secs(60)).into();
    params.not_after = (now() + Duration::from_secs(3600)).into();
    params
}

fn sign(ca: &Ca, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.signed_by(key, &ca.issuer).unwrap().der().to_vec()
}

fn sheet(file: &str, certificates: Vec<Vec<u8>>) -> LintedFile {
    LintedFile { name: file.to_owned(), certificates, is_bundle: false }
}

fn found(files: &[LintedFile]) -> Vec<(&'static str, &'static str)> {
    lint(files, now()).into_iter().map(|finding| (finding.severity.word(), finding.id)).collect()
}

/// What is found of an otherwise good leaf.
fn changed(change: impl FnOnce(&mut CertificateParams)) -> Vec<(&'static str, &'static str)> {
    let mut params = leaf_params();
    change(&mut params);
    let ca = ca(&ca_params());
    found(&[sheet("a", vec![sign(&ca, &params, &KeyPair::generate().unwrap())])])
}

#[test]
fn a_good_leaf_with_its_root_has_no_finding() {
    let ca = ca(&ca_params());
    let leaf = sign(&ca, &leaf_params(), &KeyPair::generate().unwrap());
    let sheet = sheet("a", vec![leaf, ca.certificate.der().to_vec()]);
    assert_eq!(lint(&[sheet], now()), []);
}

#[test]
fn each_finding_has_its_severity_and_its_id() {
    let plain = changed(|_| {});
    let with = |change: fn(&mut CertificateParams)| {
        let all = changed(change);
        all.into_iter().filter(|finding| !plain.contains(finding)).collect::<Vec<_>>()
    };
    assert_eq!(with(|p| p.use_authority_key_identifier_extension = false), [("error", "AV-056")]);
    assert_eq!(with(|p| p.serial_number = Some(SerialNumber::from_slice(&[5]))), [("warning", "AV-063")]);
    assert_eq!(
        with(|p| p.not_after = (now() + Duration::from_secs(40 * 86_400)).into()),
        [("warning", "AV-066")]
    );
    assert_eq!(
        with(|p| p.not_after = (now() + Duration::from_secs(2 * 86_400)).into()),
        [("notice", "AV-066")]
    );
    assert_eq!(with(|p| p.not_after = (now() - Duration::from_secs(1)).into()), [("warning", "AV-067")]);
    assert_eq!(with(|p| p.key_usages.push(KeyUsagePurpose::KeyEncipherment)), [("error", "AV-059")]);
    assert_eq!(with(|p| p.subject_alt_names.clear()).first(), Some(&("error", "AV-001")));
    assert_eq!(with(|p| p.extended_key_usages.clear()), [("error", "AV-009")]);
}

#[test]
fn a_ca_is_linted_as_one() {
    let of = |change: fn(&mut CertificateParams)| {
        let mut params = ca_params();
        change(&mut params);
        found(&[sheet("ca", vec![ca(&params).certificate.der().to_vec()])])
    };
    assert_eq!(of(|_| {}), []);
    assert_eq!(of(|p| p.subject_alt_names.clear()), [("notice", "AV-054")]);
    assert_eq!(of(|p| p.key_usages.push(KeyUsagePurpose::DigitalSignature)), [("warning", "AV-061")]);
    let empty = of(|p| p.distinguished_name = DistinguishedName::new());
    assert!(empty.contains(&("error", "AV-051")) && empty.contains(&("error", "AV-052")), "{empty:?}");
}

#[test]
fn certificates_that_share_what_they_must_not_are_found_across_files() {
    let ca = ca(&ca_params());
    let key = KeyPair::generate().unwrap();
    let orders = sign(&ca, &leaf_params(), &key);
    let ledger = |change: fn(&mut CertificateParams), key: &KeyPair| {
        let mut params = leaf_params();
        params.serial_number = Some(SerialNumber::from_slice(&[8; 16]));
        params.subject_alt_names =
            vec![SanType::URI("spiffe://market.example/ledger".to_owned().try_into().unwrap())];
        change(&mut params);
        sign(&ca, &params, key)
    };
    let both = |second: Vec<u8>| {
        let all = lint(&[sheet("a", vec![orders.clone()]), sheet("b", vec![second])], now());
        let all: Vec<_> = all.into_iter().filter(|finding| finding.id.starts_with("AV-07")).collect();
        all.iter().map(Finding::to_line).collect::<Vec<_>>()
    };
    let other = KeyPair::generate().unwrap();
    assert_eq!(both(ledger(|_| {}, &other)), Vec::<String>::new());
    assert_eq!(both(orders.clone()), Vec::<String>::new(), "the same one twice");
    let shared = both(ledger(|_| {}, &key));
    assert!(
        matches!(&shared[..], [line] if line.starts_with("b:1: error: AV-071") && line.contains("a:1")),
        "{shared:?}"
    );
    let serial = both(ledger(|p| p.serial_number = leaf_params().serial_number, &other));
    assert!(matches!(&serial[..], [line] if line.starts_with("b:1: error: AV-072")), "{serial:?}");
    let renewed = both(ledger(|p| p.subject_alt_names = leaf_params().subject_alt_names, &key));
    assert!(matches!(&renewed[..], [line] if line.starts_with("b:1: notice: AV-071")), "{renewed:?}");
}

#[test]
fn a_chain_is_linted_as_one_and_a_bundle_is_not() {
    let (ca, other) = (ca(&ca_params()), ca(&ca_params()));
    let leaf = sign(&ca, &leaf_params(), &KeyPair::generate().unwrap());
    let wrong = vec![leaf, other.certificate.der().to_vec()];
    let all = found(&[sheet("a", wrong.clone())]);
    assert!(all.contains(&("error", "AV-033")) && all.contains(&("warning", "AV-032")), "{all:?}");
    let bundle = LintedFile { is_bundle: true, ..sheet("a", wrong) };
    assert!(!found(&[bundle]).contains(&("error", "AV-033")));
}

#[test]
fn every_item_and_every_finding_can_be_explained() {
    let sources = [
        include_str!("certificate.rs"),
        include_str!("chain.rs"),
        include_str!("../inspect/bundle.rs"),
        include_str!("../inspect/chain.rs"),
        include_str!("../inspect/request.rs"),
    ];
    let numbers =
        sources.iter().flat_map(|source| source.split("\"AV-").skip(1)).filter_map(|rest| rest.get(..3));
    let ids: std::collections::BTreeSet<_> = numbers.map(|number| format!("AV-{number}")).collect();
    assert!(ids.len() >= 40, "{ids:?}");
    for id in ids.into_iter().filter(|id| id != "AV-000") {
        assert!(crate::checks::page(&id).is_some(), "{id} has no page");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        harmless(&bytes);
    }

    #[test]
    fn no_damage_to_a_certificate_a_request_or_a_bundle_is_too_odd(
        which in 0..4_usize, at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = specimens()[which].clone();
        let at = at.index(bytes.len());
        bytes[at] = to;
        harmless(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        harmless(&bytes);
    }
}

/// Made once: keys take their time.
fn specimens() -> &'static [Vec<u8>; 4] {
    static MADE: std::sync::OnceLock<[Vec<u8>; 4]> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let key = KeyPair::generate().unwrap();
        let ca = ca(&ca_params());
        let bundle =
            avouch_spiffe::Bundle::from_ders("market.example".parse().unwrap(), &[ca.certificate.der()], 7);
        let mut asked = leaf_params();
        // What a request has none of.
        (asked.serial_number, asked.use_authority_key_identifier_extension) = (None, false);
        asked.is_ca = IsCa::NoCa;
        let request = asked.serialize_request(&key).unwrap().der().to_vec();
        [
            sign(&ca, &leaf_params(), &key),
            ca.certificate.der().to_vec(),
            request,
            bundle.unwrap().to_json().into_bytes(),
        ]
    })
}

/// Everything that looks at a stranger's bytes.
fn harmless(bytes: &[u8]) {
    use crate::inspect;
    let as_file = inspect::Document::parse(bytes).unwrap_or_default();
    let certificates =
        [as_file.certificates.clone(), vec![bytes.to_vec()], vec![bytes.to_vec(), bytes.to_vec()]];
    for certificates in certificates {
        let chain = inspect::chain_checks(&certificates, now());
        let _ = inspect::checks_to_text(&chain);
        let _ = lint(&[sheet("a", certificates)], now());
    }
    let inspection = inspect::inspect(bytes);
    let _ = (inspection.to_text(1, 1, now()), inspection.to_line(now()), inspection.to_json(now()));
    for request in as_file.requests.iter().map(Vec::as_slice).chain([bytes]) {
        let request = inspect::inspect_request(request);
        let _ = (request.to_text(1, 1), request.to_json());
    }
    if let Some(bundle) = as_file.bundle.as_ref().map(inspect::inspect_bundle) {
        let _ = (bundle.to_text(), bundle.to_json());
    }
}
