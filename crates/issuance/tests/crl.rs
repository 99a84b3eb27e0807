//! Revocation lists that independent verifiers act upon.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod support;

use std::process::Command;
use std::time::{Duration, SystemTime};

use avouch_files::pem;
use avouch_issuance::{CaError, CrlContent, CrlEntry, CrlReason, Issued};
use rustls_pki_types::{CertificateDer, UnixTime};
use support::{Ca, SECOND, now};
use webpki::{
    EndEntityCert, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder, anchor_from_trusted_cert,
};

const DAY: Duration = Duration::from_secs(86_400);

fn octets(serial: &str) -> Vec<u8> {
    (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).unwrap()).collect()
}

fn content(serials: &[Vec<u8>]) -> CrlContent {
    let entry = |serial: &Vec<u8>| CrlEntry { serial: serial.clone(), revoked_at: now(), reason: None };
    CrlContent {
        number: 1 << 64,
        this_update: now(),
        next_update: now() + DAY,
        entries: serials.iter().map(entry).collect(),
    }
}

fn webpki_says(ca: &Ca, issued: &Issued, lists: &[Vec<u8>], at: SystemTime) -> Result<(), webpki::Error> {
    let lists: Vec<webpki::CertRevocationList<'_>> =
        lists.iter().map(|der| OwnedCertRevocationList::from_der(der).unwrap().into()).collect();
    let lists: Vec<_> = lists.iter().collect();
    let root = CertificateDer::from(ca.root.certificate().der());
    let options = RevocationOptionsBuilder::new(&lists).unwrap();
    let options = options.with_expiration_policy(webpki::ExpirationPolicy::Enforce).build();
    EndEntityCert::try_from(&issued.chain()[0])
        .unwrap()
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor_from_trusted_cert(&root).unwrap()],
            &issued.chain()[1..],
            UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap()),
            KeyUsage::client_auth(),
            Some(options),
            None,
        )
        .map(|_| ())
}

fn lists(ca: &Ca, revoked: &[Vec<u8>]) -> [Vec<u8>; 2] {
    [ca.authority.sign_crl(&content(revoked)).unwrap(), ca.root.sign_crl(&content(&[])).unwrap()]
}

#[test]
fn webpki_refuses_the_revoked_certificate_accepts_another_and_knows_when_a_list_is_stale() {
    let ca = Ca::new();
    let (revoked, other) = (ca.svid("/thief"), ca.svid("/orders"));
    let lists = lists(&ca, &[octets(revoked.serial())]);
    assert_eq!(webpki_says(&ca, &revoked, &lists, now()), Err(webpki::Error::CertRevoked));
    assert_eq!(webpki_says(&ca, &other, &lists, now()), Ok(()));
    // Without the root's list nothing is known of the signing authority.
    assert_eq!(webpki_says(&ca, &other, &lists[..1], now()), Err(webpki::Error::UnknownRevocationStatus));
    let early = CrlContent { next_update: now() + SECOND, ..content(&[]) };
    let stale = [ca.authority.sign_crl(&early).unwrap(), lists[1].clone()];
    assert!(matches!(
        webpki_says(&ca, &other, &stale, now() + 2 * SECOND),
        Err(webpki::Error::CrlExpired { .. })
    ));
}

#[test]
fn openssl_refuses_the_revoked_certificate_and_a_revoked_authority_and_accepts_another() {
    let ca = Ca::new();
    let (revoked, other) = (ca.svid("/thief"), ca.svid("/orders"));
    let mut authority = content(&[octets(ca.authority.certificate().serial())]);
    authority.entries[0].reason = Some(CrlReason::CaCompromise);
    let temp = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(temp.path().join(name), text).unwrap();
    write("root.pem", pem::write_certificates([ca.root.certificate().der()]));
    write("signing.pem", pem::write_certificates([ca.authority.certificate().der()]));
    write("revoked.pem", pem::write_certificates([revoked.chain()[0].as_ref()]));
    write("other.pem", pem::write_certificates([other.chain()[0].as_ref()]));
    let lists = lists(&ca, &[octets(revoked.serial())]);
    let text = |lists: &[Vec<u8>]| lists.iter().map(|der| pem::encode("X509 CRL", der)).collect::<String>();
    write("crl.pem", text(&lists));
    write("authority.pem", text(&[lists[0].clone(), ca.root.sign_crl(&authority).unwrap()]));
    let at = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
    let verify = |crl: &str, leaf: &str| {
        let out = Command::new("openssl")
            .current_dir(temp.path())
            .args(["verify", "-crl_check_all", "-attime", &at, "-CAfile", "root.pem", "-untrusted"])
            .args(["signing.pem", "-CRLfile", crl, leaf])
            .output()
            .unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (accepted, said) = verify("crl.pem", "other.pem");
    assert!(accepted, "{said}");
    for (crl, leaf) in [("crl.pem", "revoked.pem"), ("authority.pem", "other.pem")] {
        let (accepted, said) = verify(crl, leaf);
        assert!(!accepted && said.contains("certificate revoked"), "{said}");
    }
}

#[test]
fn what_no_list_may_be_is_refused() {
    let ca = Ca::new();
    for serial in [vec![], vec![1; 21]] {
        assert!(matches!(ca.authority.sign_crl(&content(&[serial])), Err(CaError::Recheck(_))));
    }
    let backwards = CrlContent { next_update: now(), ..content(&[]) };
    assert!(matches!(ca.authority.sign_crl(&backwards), Err(CaError::Validity(_))));
    let late = ca.authority.not_after() + SECOND;
    let expired = CrlContent { this_update: late, next_update: late + DAY, ..content(&[]) };
    assert!(matches!(ca.authority.sign_crl(&expired), Err(CaError::Validity(_))));
}
