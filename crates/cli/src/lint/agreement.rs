//! Lint and the verifier say the same of the same certificates: whatever the verifier refuses for what the certificates
//! are is an error, and what it takes is none on that ground.

use super::{Finding, LintedFile, Severity, lint, verifier};
use crate::inspect;
use avouch_attacker::certificates::{ATTACKS, Workshop};
use avouch_attacker::der::{self, sequence, tlv};
use avouch_attacker::forge::{Authority, Draft, Extension, ce};
use avouch_identity::{IdentityFilter, TrustStore};
use avouch_spiffe::x509::{self, Leaf};
use avouch_spiffe::{Bundle, BundleSet};
use rustls::pki_types::CertificateDer;
use std::time::{Duration, SystemTime};

/// Refused for something that no look at the certificates can tell.
const NOT_THE_CERTIFICATES: &[(&str, &str)] = &[
    ("self-signed", "whom to trust"),
    ("another CA", "whom to trust"),
    ("another CA with the same names", "whom to trust"),
    ("missing intermediate", "which root is meant"),
    ("foreign trust domain", "whom to trust"),
    ("a trust domain that begins alike", "whom to trust"),
    ("stolen, without its key", "which key the peer has"),
    ("the signing certificate itself", "that it is shown as a leaf"),
    ("expired", "the moment: a warning"),
    ("not yet valid", "the moment: a warning"),
    ("expired intermediate", "the moment: a warning"),
];

fn at(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap())
}

fn errors(chain: &[Vec<u8>], now: SystemTime) -> Vec<String> {
    let sheet = LintedFile { name: "a".to_owned(), certificates: chain.to_vec(), is_bundle: false };
    let found = lint(&[sheet], now);
    found.iter().filter(|it| it.severity == Severity::Error).map(Finding::to_line).collect()
}

/// Whether a client and a server that trust `root` take the chain.
fn accepted(chain: &[Vec<u8>], root: &Authority, now: SystemTime) -> Result<(), String> {
    let Ok(bundle) = Bundle::from_ders("market.example".parse().unwrap(), &[&root.der], 1) else {
        return Err("no bundle".to_owned());
    };
    let domain = bundle.trust_domain().clone();
    let trust = TrustStore::new(BundleSet::from_iter([bundle]));
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from_slice(der)).collect();
    trust.verify(&chain, Some(&domain), now).map_err(|rejection| rejection.to_string())?;
    let as_server = trust.verify_server(&chain, &IdentityFilter::any_trusted(), now);
    as_server.map(|_| ()).map_err(|rejection| rejection.to_string())
}

#[test]
fn what_the_verifier_refuses_of_a_forgery_is_an_error_and_a_right_certificate_has_none() {
    let workshop = Workshop::new("market.example", "/payments").unwrap();
    let now = at(workshop.now);
    let ders = |chain: &[CertificateDer<'_>]| chain.iter().map(|der| der.to_vec()).collect::<Vec<_>>();
    let right = ders(&workshop.right().unwrap().chain);
    assert_eq!(accepted(&right, &workshop.root, now), Ok(()));
    let with_root = [right, vec![workshop.root.der.clone()]].concat();
    assert_eq!(verifier::verdict(&with_root, now), Some(Ok(())));
    let key_ids = |line: &String| !line.contains("AV-056") && !line.contains("AV-057");
    let refusing: Vec<_> = errors(&with_root, now).into_iter().filter(key_ids).collect();
    assert_eq!(refusing, Vec::<String>::new(), "the forge leaves key identifiers out");
    let mut wrong = Vec::new();
    for attack in ATTACKS {
        let chain = ders(&(attack.forge)(&workshop).unwrap().chain);
        let errors: Vec<_> = errors(&chain, now).into_iter().filter(key_ids).collect();
        let excepted = NOT_THE_CERTIFICATES.iter().any(|(name, _)| *name == attack.name);
        if !excepted && accepted(&chain, &workshop.root, now).is_ok() {
            wrong.push(format!("{}: the verifier takes it", attack.name));
        }
        if errors.is_empty() != excepted {
            wrong.push(format!("{}: {errors:?}", attack.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_items_of_a_certificate_hold_if_and_only_if_its_parser_takes_it() {
    let workshop = Workshop::new("market.example", "/payments").unwrap();
    let mut verdicts = [0, 0];
    for attack in ATTACKS {
        for der in (attack.forge)(&workshop).unwrap().chain {
            let inspected = inspect::inspect(&der);
            let parsed = if !inspected.info().is_ok_and(|info| info.ca) {
                Leaf::parse(&der).is_ok()
            } else {
                x509::Authority::parse(&der).is_ok()
            };
            assert_eq!(inspected.passes(), parsed, "{attack:?}");
            verdicts[usize::from(parsed)] += 1;
        }
    }
    assert!(verdicts[0] > 20 && verdicts[1] > 20, "{verdicts:?}");
}

fn subtree(which: u8, base: Vec<u8>) -> Extension {
    let subtrees = tlv(0xa0 | which, &sequence(&[base]));
    Extension::ce(ce::NAME_CONSTRAINTS, true, tlv(0x30, &subtrees))
}

fn path_length(octets: &[u8]) -> Extension {
    Extension::ce(ce::BASIC_CONSTRAINTS, true, sequence(&[tlv(0x01, &[0xff]), tlv(0x02, octets)]))
}

type Change = fn(&mut Draft);

/// An authority with one thing changed: as an error it is known from itself alone, or only from what is below it.
const AUTHORITIES: &[(&str, Change, bool, bool)] = &[
    ("AV-070", |ca| ca.set(subtree(0, tlv(0x86, b"market.example"))), true, true),
    ("AV-070", |ca| ca.set(subtree(1, tlv(0x86, b"evil.example"))), true, true),
    ("AV-070", |ca| ca.set(subtree(0, tlv(0xa4, &der::name("somebody")))), true, true),
    ("AV-037", |ca| ca.set(subtree(1, tlv(0x82, b"market.example"))), false, true),
    ("", |ca| ca.set(subtree(0, tlv(0x82, b"market.example"))), false, false),
    ("", |ca| ca.set(subtree(0, tlv(0x81, b"evil.example"))), false, false),
    ("AV-074", |ca| ca.set(path_length(&[1, 0])), true, true),
    ("", |ca| ca.set(path_length(&[0])), false, false),
    ("AV-000", |ca| ca.set(path_length(&[0xff])), true, true),
    ("AV-000", |ca| ca.set(Extension::ce(ce::NAME_CONSTRAINTS, true, vec![0x30, 3, 1])), true, true),
    ("AV-012", |ca| ca.set(Extension::unheard_of(true, 1)), true, true),
    ("AV-021", |ca| ca.set(Extension { critical: false, ..Extension::constraints(true, None) }), true, true),
    ("AV-073", |ca| ca.set(Extension::unheard_of(false, 17_000)), true, true),
];

#[test]
fn an_authority_below_which_nothing_is_taken_is_an_error_and_another_is_not() {
    let workshop = Workshop::new("market.example", "/payments").unwrap();
    let now = at(workshop.now);
    for (number, (id, change, alone, with_leaf)) in AUTHORITIES.iter().enumerate() {
        let authority = workshop.root.below("an authority", workshop.now, change).unwrap();
        let names =
            sequence(&[tlv(0x86, workshop.claimed().as_bytes()), tlv(0x82, b"payments.market.example")]);
        let shown = workshop
            .leaf_below(&authority, &[&authority], |leaf| leaf.set(Extension::ce(ce::SAN, true, names)))
            .unwrap();
        let chain: Vec<_> = shown.chain.iter().map(|der| der.to_vec()).collect();
        let verdict = accepted(&chain, &workshop.root, now);
        assert_eq!(verdict.is_err(), *with_leaf, "{number} {id}: {verdict:?}");
        let of = |chain: &[Vec<u8>]| {
            let all = errors(chain, now).into_iter();
            all.filter(|line| !line.contains("AV-056") && !line.contains("AV-057")).collect::<Vec<_>>()
        };
        let (single, whole) =
            (of(&chain[1..]), of(&[&chain[..], std::slice::from_ref(&workshop.root.der)].concat()));
        assert_eq!(single.is_empty(), !alone, "{number} {id}: {single:?}");
        assert_eq!(whole.is_empty(), !with_leaf, "{number} {id}: {whole:?}");
        assert!(id.is_empty() || whole.iter().any(|line| line.contains(id)), "{number} {id}: {whole:?}");
    }
}

#[test]
fn a_chain_in_another_order_is_a_warning_since_the_verifier_takes_it() {
    let workshop = Workshop::new("market.example", "/payments").unwrap();
    let now = at(workshop.now);
    let leaf = workshop.right().unwrap().chain[0].to_vec();
    let (root, signing) = (workshop.root.der.clone(), workshop.signing.der.clone());
    assert_eq!(accepted(&[leaf.clone(), root.clone(), signing.clone()], &workshop.root, now), Ok(()));
    let sheet =
        LintedFile { name: "a".to_owned(), certificates: vec![leaf, root, signing], is_bundle: false };
    let found = lint(&[sheet], now);
    let order = found.iter().find(|finding| finding.id == "AV-031").unwrap();
    assert_eq!(order.severity, Severity::Warning, "{}", order.to_line());
    let others = found.iter().filter(|it| it.severity == Severity::Error);
    assert!(others.into_iter().all(|it| matches!(it.id, "AV-056" | "AV-057")), "{found:?}");
}

#[test]
fn a_subject_without_an_alternative_name_breaks_no_rule_on_names_that_must_be_critical() {
    let workshop = Workshop::new("market.example", "/payments").unwrap();
    let ids = |subject: Vec<u8>| {
        let shown = workshop.leaf(|leaf| {
            leaf.remove(ce::SAN);
            leaf.subject = subject;
        });
        let found = errors(&[shown.unwrap().chain[0].to_vec()], at(workshop.now));
        found.iter().map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let named = ids(der::name("ledger"));
    assert!(named.contains(&"AV-001".to_owned()) && !named.contains(&"AV-004".to_owned()), "{named:?}");
    assert!(ids(der::name("")).contains(&"AV-004".to_owned()));
}
