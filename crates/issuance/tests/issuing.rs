//! From a root to a chain that independent verifiers accept, and everything that must not come out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, SystemTime};

use avouch_files::pem;
use avouch_issuance::{
    CaError, Entropy, EntropyError, IssuanceError, PrivateKey, Request, Root, SigningAuthority, SvidProfile,
    SystemEntropy, ValidityError,
};
use avouch_spiffe::{Bundle, Reason};
use rustls_pki_types::{CertificateDer, UnixTime};
use support::{Ca, SECOND, csr, domain, id, now};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

fn webpki_accepts(ca: &Ca, chain: &[CertificateDer<'static>], at: SystemTime, usage: KeyUsage) -> bool {
    let root = CertificateDer::from(ca.root.certificate().der());
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    EndEntityCert::try_from(&chain[0])
        .unwrap()
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &chain[1..],
            UnixTime::since_unix_epoch(since),
            usage,
            None,
            None,
        )
        .is_ok()
}

#[test]
fn webpki_accepts_the_chain_for_both_ends_while_it_is_valid_and_not_after() {
    let ca = Ca::new();
    let issued = ca.svid("/orders");
    for usage in [KeyUsage::client_auth, KeyUsage::server_auth] {
        assert!(webpki_accepts(&ca, issued.chain(), now(), usage()));
        assert!(!webpki_accepts(&ca, issued.chain(), issued.not_after() + SECOND, usage()));
        assert!(!webpki_accepts(&ca, issued.chain(), issued.not_before() - SECOND, usage()));
        assert!(!webpki_accepts(&ca, &issued.chain()[..1], now(), usage()), "without its intermediate");
    }
}

#[test]
fn openssl_verify_x509_strict_accepts_the_chain() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: there is no openssl on PATH, so openssl verify -x509_strict did not run");
        return;
    }
    let ca = Ca::new();
    let p384 = avouch_issuance::Csr::parse(&support::recorded("p384-sha256")).unwrap();
    let names = ["orders.market.example".parse().unwrap()];
    for issued in [
        ca.svid("/orders"),
        ca.issue(Request::for_csr(&p384, id("/orders")).unwrap().dns_names(names)),
        ca.issue(Request::for_own_key(&PrivateKey::generate().unwrap(), id("/avouch/issuer"))),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, der: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, pem::write_certificates([der])).unwrap();
            path
        };
        let root = write("root.pem", ca.root.certificate().der());
        let authority = write("authority.pem", &issued.chain()[1]);
        let leaf = write("leaf.pem", &issued.chain()[0]);
        let at = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
        for purpose in ["sslclient", "sslserver"] {
            let output = Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", purpose, "-attime", &at, "-CAfile"])
                .args([&root, std::path::Path::new("-untrusted"), &authority, &leaf])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn an_svid_is_never_valid_longer_than_its_authority() {
    let ca = Ca::new();
    let late = ca.authority.not_after() - 10 * SECOND;
    let request = Request::for_csr(&csr(), id("/orders")).unwrap();
    let issued = request.check(&ca.profiles.svid, &ca.authority, late, &SystemEntropy).unwrap();
    let issued = issued.sign(&ca.authority).unwrap();
    assert_eq!(issued.not_after(), ca.authority.not_after());
    assert_eq!(issued.not_before(), late - 5 * SECOND);
}

#[test]
fn an_authority_that_is_over_or_not_begun_signs_nothing() {
    let ca = Ca::new();
    for (at, expected) in [
        (ca.authority.not_after(), ValidityError::AuthorityExpired),
        (ca.authority.not_after() + SECOND, ValidityError::AuthorityExpired),
        (ca.authority.certificate().not_before() - SECOND, ValidityError::AuthorityNotYetValid),
    ] {
        let request = Request::for_csr(&csr(), id("/orders")).unwrap();
        let error = request.check(&ca.profiles.svid, &ca.authority, at, &SystemEntropy).unwrap_err();
        assert!(matches!(error, IssuanceError::Validity(found) if found == expected), "{error}");
        assert_eq!(error.reason(), Reason::NotReady);
    }
}

#[test]
fn the_beginning_is_put_back_by_thirty_seconds_or_half_of_the_life() {
    let ca = Ca::new();
    let hour = ca.svid("/orders");
    assert_eq!((hour.not_before(), hour.not_after()), (now() - 30 * SECOND, now() + 3600 * SECOND));
    let demo = ca.issue(Request::for_csr(&csr(), id("/orders")).unwrap().lifetime(20 * SECOND));
    assert_eq!((demo.not_before(), demo.not_after()), (now() - 10 * SECOND, now() + 20 * SECOND));
}

#[test]
fn what_the_profile_or_the_hierarchy_forbids_is_refused() {
    let ca = Ca::new();
    let ask = |id, change: fn(Request) -> Request| {
        let request = change(Request::for_csr(&csr(), id).unwrap());
        request.check(&ca.profiles.svid, &ca.authority, now(), &SystemEntropy).unwrap_err()
    };
    let foreign = "spiffe://other.example/orders".parse().unwrap();
    assert!(matches!(ask(foreign, |request| request), IssuanceError::ForeignTrustDomain(_)));
    let looks_alike = "spiffe://market.example.evil/orders".parse().unwrap();
    assert!(matches!(ask(looks_alike, |request| request), IssuanceError::ForeignTrustDomain(_)));
    assert!(matches!(ask(id("/avouch/issuer"), |request| request), IssuanceError::Reserved(_)));
    assert!(matches!(ask(id("/avouch"), |request| request), IssuanceError::Reserved(_)));
    assert!(matches!(ask(id("/a"), |request| request.lifetime(9 * SECOND)), IssuanceError::Lifetime { .. }));
    assert!(matches!(
        ask(id("/a"), |request| request.lifetime(86_401 * SECOND)),
        IssuanceError::Lifetime { .. }
    ));
    assert!(matches!(
        ask(id("/a"), |request| request.lifetime(Duration::MAX)),
        IssuanceError::Lifetime { .. }
    ));
    let many =
        |request: Request| request.dns_names((0..17).map(|n| format!("n{n}.example").parse().unwrap()));
    assert!(matches!(ask(id("/a"), many), IssuanceError::TooManyDnsNames { count: 17, max: 16 }));
}

#[test]
fn a_profile_of_p256_alone_refuses_p384() {
    let ca = Ca::new();
    let toml = include_str!("../../../certs/svid.toml").replace(r#", "ecdsa-p384"]"#, "]");
    let profile = SvidProfile::parse("svid.toml", &toml).unwrap();
    let p384 = avouch_issuance::Csr::parse(&support::recorded("p384-sha256")).unwrap();
    let request = Request::for_csr(&p384, id("/orders")).unwrap();
    let error = request.check(&profile, &ca.authority, now(), &SystemEntropy).unwrap_err();
    assert!(matches!(error, IssuanceError::KeyAlgorithm(_)), "{error}");
    assert_eq!(error.reason(), Reason::CsrInvalid);
}

#[test]
fn only_avouch_itself_gets_a_reserved_identity_for_a_key_it_holds() {
    let key = PrivateKey::generate().unwrap();
    let issued = Ca::new().issue(Request::for_own_key(&key, id("/avouch/issuer")));
    assert_eq!(issued.leaf().spki_der(), key.spki_der());
    assert_eq!(issued.spiffe_id(), &id("/avouch/issuer"));
}

#[test]
fn serials_are_never_repeated_for_one_key() {
    let ca = Ca::new();
    let csr = csr();
    let serials: BTreeSet<_> = (0..200)
        .map(|_| ca.issue(Request::for_csr(&csr, id("/orders")).unwrap()).serial().to_owned())
        .collect();
    assert_eq!(serials.len(), 200);
    let prefix = format!("{:x}", 1_800_000_000_000_u64);
    assert!(serials.iter().all(|serial| serial.trim_start_matches('0').starts_with(&prefix)), "{serials:?}");
}

#[test]
fn without_randomness_nothing_is_made() {
    let ca = Ca::new();
    let request = Request::for_csr(&csr(), id("/orders")).unwrap();
    assert!(request.check(&ca.profiles.svid, &ca.authority, now(), &NoEntropy).is_err());
    let key = || PrivateKey::generate().unwrap();
    assert!(Root::create(&domain(), &ca.profiles.root, key(), now(), &NoEntropy).is_err());
    let profile = &ca.profiles.signing_authority;
    assert!(SigningAuthority::create(&ca.root, profile, key(), now(), &NoEntropy).is_err());
}

#[test]
fn what_was_checked_for_one_authority_is_not_signed_by_an_older_one() {
    let ca = Ca::new();
    let request = Request::for_csr(&csr(), id("/orders")).unwrap().lifetime(86_400 * SECOND);
    let late = ca.authority.not_after() - 100 * SECOND;
    let key = PrivateKey::generate().unwrap();
    let fresh = SigningAuthority::create(&ca.root, &ca.profiles.signing_authority, key, late, &SystemEntropy)
        .unwrap();
    let checked = request.check(&ca.profiles.svid, &fresh, late, &SystemEntropy).unwrap();
    let error = checked.sign(&ca.authority).unwrap_err();
    assert!(matches!(error, IssuanceError::Recheck("end after the signing authority's")), "{error}");
}

#[test]
fn authorities_survive_being_stored() {
    let ca = Ca::new();
    let key = PrivateKey::from_pkcs8_pem(&ca.authority_key_pem).unwrap();
    let text = pem::write_certificates([ca.authority.certificate().der()]);
    let der = &pem::certificates(text.as_bytes()).unwrap()[0];
    let loaded = SigningAuthority::load(&ca.bundle(), der, key).unwrap();
    let request = Request::for_csr(&csr(), id("/orders")).unwrap();
    let checked = request.check(&ca.profiles.svid, &loaded, now(), &SystemEntropy).unwrap();
    let issued = checked.sign(&loaded).unwrap();
    assert!(webpki_accepts(&ca, issued.chain(), now(), KeyUsage::client_auth()));
}

#[test]
fn a_signing_authority_is_loaded_with_its_own_key_and_of_its_own_root_only() {
    let ca = Ca::new();
    let other = Ca::new();
    let der = ca.authority.certificate().der();
    let key = || PrivateKey::from_pkcs8_pem(&ca.authority_key_pem).unwrap();
    let wrong_key = SigningAuthority::load(&ca.bundle(), der, PrivateKey::generate().unwrap()).unwrap_err();
    assert!(matches!(wrong_key, CaError::KeyMismatch), "{wrong_key}");
    let wrong_root = SigningAuthority::load(&other.bundle(), der, key()).unwrap_err();
    assert!(matches!(wrong_root, CaError::NotOfThisRoot), "{wrong_root}");
    let no_root = SigningAuthority::load(&Bundle::new(domain(), vec![], 1), der, key()).unwrap_err();
    assert!(matches!(no_root, CaError::NotOfThisRoot), "{no_root}");
}

#[test]
fn a_root_is_no_signing_authority_and_a_signing_authority_no_root() {
    let ca = Ca::new();
    let key = PrivateKey::from_pkcs8_pem(&ca.authority_key_pem).unwrap();
    let error = Root::load(&domain(), ca.authority.certificate().der(), key).unwrap_err();
    assert!(matches!(error, CaError::PathLength), "{error}");
    let key = PrivateKey::generate().unwrap();
    let pem = key.to_pkcs8_pem();
    let root = Root::create(&domain(), &ca.profiles.root, key, now(), &SystemEntropy).unwrap();
    let bundle = Bundle::new(domain(), vec![root.certificate().clone()], 1);
    let key = PrivateKey::from_pkcs8_pem(&pem).unwrap();
    let error = SigningAuthority::load(&bundle, root.certificate().der(), key).unwrap_err();
    assert!(matches!(error, CaError::PathLength), "{error}");
    let key = PrivateKey::from_pkcs8_pem(&pem).unwrap();
    assert!(Root::load(&domain(), root.certificate().der(), key).is_ok());
    let key = PrivateKey::from_pkcs8_pem(&pem).unwrap();
    let foreign = "other.example".parse().unwrap();
    assert!(matches!(Root::load(&foreign, root.certificate().der(), key), Err(CaError::TrustDomain(_))));
}

#[test]
fn a_root_whose_signature_was_changed_is_not_loaded() {
    let ca = Ca::new();
    let key = PrivateKey::generate().unwrap();
    let pem = key.to_pkcs8_pem();
    let root = Root::create(&domain(), &ca.profiles.root, key, now(), &SystemEntropy).unwrap();
    let mut der = root.certificate().der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let error = Root::load(&domain(), &der, PrivateKey::from_pkcs8_pem(&pem).unwrap()).unwrap_err();
    assert!(matches!(error, CaError::NotSelfSigned), "{error}");
}

#[test]
fn a_signing_authority_is_cut_at_the_end_of_its_root_and_a_root_that_is_over_signs_none() {
    let ca = Ca::new();
    let end = ca.root.certificate().not_after();
    let create = |at| {
        let key = PrivateKey::generate().unwrap();
        SigningAuthority::create(&ca.root, &ca.profiles.signing_authority, key, at, &SystemEntropy)
    };
    assert_eq!(create(end - 3600 * SECOND).unwrap().not_after(), end);
    assert!(matches!(create(end), Err(CaError::Validity(ValidityError::AuthorityExpired))));
}

#[test]
fn two_authorities_of_one_domain_have_different_names_and_both_name_the_domain() {
    let (one, other) = (Ca::new(), Ca::new());
    for (one, other) in [
        (one.root.certificate().subject(), other.root.certificate().subject()),
        (one.authority.certificate().subject(), other.authority.certificate().subject()),
    ] {
        assert_ne!(one, other);
        assert!(one.contains("market.example"), "{one}");
    }
}

#[test]
fn debug_forms_show_no_key() {
    let ca = Ca::new();
    let secret: String = ca.authority_key_pem.lines().filter(|line| !line.starts_with('-')).collect();
    let shown = format!("{:?} {:?}", ca.root, ca.authority);
    assert!(!shown.contains(&secret[60..100]), "{shown}");
    assert!(!shown.contains("key: ["), "{shown}");
}

#[test]
fn a_trust_domain_of_255_characters_gets_a_chain_that_verifies() {
    let ca = Ca::new();
    let domain = "a".repeat(255).parse().unwrap();
    let key = || PrivateKey::generate().unwrap();
    let root = Root::create(&domain, &ca.profiles.root, key(), now(), &SystemEntropy).unwrap();
    let profile = &ca.profiles.signing_authority;
    let authority = SigningAuthority::create(&root, profile, key(), now(), &SystemEntropy).unwrap();
    let id = avouch_spiffe::SpiffeId::new(&domain, "/orders").unwrap();
    let checked = Request::for_csr(&csr(), id)
        .unwrap()
        .check(&ca.profiles.svid, &authority, now(), &SystemEntropy)
        .unwrap();
    let issued = checked.sign(&authority).unwrap();
    let whole = Ca { root, authority, ..ca };
    assert!(webpki_accepts(&whole, issued.chain(), now(), KeyUsage::server_auth()));
}
