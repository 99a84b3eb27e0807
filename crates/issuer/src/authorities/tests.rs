//! First start, later starts, and everything that must not start.

use super::*;
use avouch_issuance::SystemEntropy;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

const YEAR: u64 = 365 * 86_400;

fn open_at(
    path: &Path,
    domain: &str,
    now: SystemTime,
    in_use: bool,
) -> Result<Authorities, AuthoritiesError> {
    let dir = Arc::new(DataDir::open(path).unwrap());
    let profiles = Profiles::embedded().unwrap();
    Authorities::open(dir, &domain.parse().unwrap(), profiles, Arc::new(SystemEntropy), now, in_use)
}

fn open(path: &Path) -> Result<Authorities, AuthoritiesError> {
    open_at(path, "market.example", at(0), false)
}

fn refused(path: &Path) -> String {
    crate::error::chain(&open(path).unwrap_err())
}

#[test]
fn the_first_start_makes_keys_for_the_owner_only_and_later_starts_load_them() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    let first = open(&path).unwrap();
    for secret in ["root.key", "signing.pem"] {
        let mode = std::fs::metadata(path.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let (root, signing) = (first.root().sha256(), first.signing().certificate().sha256());
    assert!(!format!("{first:?}").contains("PRIVATE"));
    drop(first);
    let again = open_at(&path, "market.example", at(60), true).unwrap();
    assert_eq!((again.root().sha256(), again.signing().certificate().sha256()), (root, signing));
}

#[test]
fn an_interrupted_first_start_is_completed() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    for lost in [&["signing.pem"][..], &["signing.pem", "root.crt"], &["signing.pem", "root.crt", "root.key"]]
    {
        for file in lost {
            std::fs::remove_file(path.join(file)).unwrap();
        }
        drop(open(&path).unwrap());
    }
}

#[test]
fn a_root_that_is_missing_is_never_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    std::fs::remove_file(path.join("root.crt")).unwrap();
    assert!(refused(&path).contains("root.crt is missing"));
    std::fs::remove_file(path.join("signing.pem")).unwrap();
    let error = open_at(&path, "market.example", at(0), true).unwrap_err();
    assert!(matches!(error, AuthoritiesError::RootMissing { .. }), "{error}");
}

#[test]
fn the_roots_key_may_be_away_until_it_is_needed() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    let away = temp.path().join("safe");
    std::fs::rename(path.join("root.key"), &away).unwrap();
    let running = open(&path).unwrap();
    let before = running.signing().certificate().sha256();
    let error = running.renew_signing(at(60)).unwrap_err();
    assert!(matches!(error, AuthoritiesError::RootKeyMissing { .. }), "{error}");
    assert_eq!(running.signing().certificate().sha256(), before);
    std::fs::rename(&away, path.join("root.key")).unwrap();
    let fresh = running.renew_signing(at(60)).unwrap();
    assert_ne!(fresh.certificate().sha256(), before);
    assert_eq!(running.signing().certificate().sha256(), fresh.certificate().sha256());
    drop(running);
    assert_eq!(open(&path).unwrap().signing().certificate().sha256(), fresh.certificate().sha256());
}

#[test]
fn an_expired_signing_authority_is_replaced_at_start() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    let before = open(&path).unwrap().signing().not_after();
    let later = open_at(&path, "market.example", at(YEAR), true).unwrap();
    assert!(later.signing().not_after() > at(YEAR) && before < at(YEAR));
    assert!(later.signing().not_after() <= later.root().not_after());
}

#[test]
fn an_expired_root_issues_nothing_and_one_from_the_future_points_at_the_clock() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    let error = open_at(&path, "market.example", at(20 * YEAR), true).unwrap_err();
    assert!(matches!(error, AuthoritiesError::RootExpired { .. }), "{error}");
    let error = open_at(&path, "market.example", at(0) - Duration::from_secs(YEAR), true).unwrap_err();
    assert!(matches!(error, AuthoritiesError::RootNotYetValid { .. }), "{error}");
}

#[test]
fn keys_that_do_not_belong_to_their_certificate_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (a, b) = (temp.path().join("a"), temp.path().join("b"));
    drop((open(&a).unwrap(), open(&b).unwrap()));
    std::fs::copy(b.join("root.key"), a.join("root.key")).unwrap();
    assert!(refused(&a).contains("does not belong to the certificate"), "{}", refused(&a));
    // A signing authority of another root.
    drop(open(&b).unwrap());
    let c = temp.path().join("c");
    drop(open(&c).unwrap());
    std::fs::copy(b.join("signing.pem"), c.join("signing.pem")).unwrap();
    assert!(refused(&c).contains("no root of the bundle"), "{}", refused(&c));
}

#[test]
fn another_trust_domains_data_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    let error = open_at(&path, "other.example", at(0), true).unwrap_err();
    assert!(crate::error::chain(&error).contains("other.example"), "{error}");
}

#[test]
fn keys_that_others_can_read_and_files_that_are_no_keys_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    for file in ["root.key", "signing.pem"] {
        let set =
            |mode| std::fs::set_permissions(path.join(file), std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o644);
        assert!(refused(&path).contains("chmod 0600"), "{file}: {}", refused(&path));
        set(0o600);
        let good = std::fs::read(path.join(file)).unwrap();
        for bad in [&b"garbage"[..], b"", b"\xff\xfe"] {
            std::fs::write(path.join(file), bad).unwrap();
            let error = refused(&path);
            assert!(error.contains(file) && !error.contains("garbage"), "{error}");
        }
        std::fs::write(path.join(file), good).unwrap();
    }
    open(&path).unwrap();
}
