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
    let dir = Arc::new(PrivateDir::open(path, "lock").unwrap());
    let profiles = Profiles::embedded().unwrap();
    Authorities::open(dir, &domain.parse().unwrap(), profiles, Arc::new(SystemEntropy), now, in_use)
}

fn open(path: &Path) -> Result<Authorities, AuthoritiesError> {
    open_at(path, "market.example", at(0), false)
}

fn refused(path: &Path) -> String {
    avouch_text::with_causes(&open(path).unwrap_err()).to_string()
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
    assert!(avouch_text::with_causes(&error).to_string().contains("other.example"), "{error}");
}

#[test]
fn what_is_wrong_with_a_key_file_is_named_with_its_mend_and_without_an_octet_of_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    for file in ["root.key", "signing.pem"] {
        let good = std::fs::read_to_string(path.join(file)).unwrap();
        let key: String = good.split("PRIVATE KEY-----").nth(1).unwrap().split_whitespace().collect();
        for (bad, named) in [
            (good.replace('\n', " ").into_bytes(), "line breaks are missing"),
            (good.replace('\n', "\\n").into_bytes(), "line breaks are missing"),
            (good.encode_utf16().flat_map(u16::to_le_bytes).collect(), "UTF-16"),
            (good.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY").into_bytes(), "encrypted"),
            (good.replace("PRIVATE KEY", "EC PRIVATE KEY").into_bytes(), "PKCS#8"),
            (good.replacen("PRIVATE KEY-----\nM", "PRIVATE KEY-----\n*", 1).into_bytes(), "not base64"),
            (good.as_bytes()[..good.len() - 40].to_vec(), "cut"),
        ] {
            std::fs::write(path.join(file), bad).unwrap();
            let error = open(&path).unwrap_err();
            let texts = format!("{} {error} {error:?}", refused(&path));
            assert!(texts.contains(named) && texts.contains(file), "{file}: {texts}");
            let quoted =
                key.as_bytes().windows(16).any(|part| texts.contains(std::str::from_utf8(part).unwrap()));
            assert!(!quoted, "{file}: {texts}");
        }
        std::fs::write(path.join(file), good).unwrap();
    }
    open(&path).unwrap();
}

#[test]
fn a_key_that_a_killed_issuer_was_writing_is_gone_after_the_next_start() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    drop(open(&path).unwrap());
    for left in ["root.key.new", ".root.key.new", "signing.pem.new", ".signing.pem.new", "root.crt.new"] {
        std::fs::write(path.join(left), "half a key").unwrap();
    }
    drop(open(&path).unwrap());
    let left =
        std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.ends_with(".new")).count(), 0);
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

#[test]
fn the_roots_list_is_signed_once_kept_while_the_key_is_away_and_not_believed_of_another_root() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    let authorities = open(&path).unwrap();
    let list = |number, now| authorities.root_crl(Vec::new(), number, now).unwrap();
    let first = list(1, at(0));
    assert!(first.is_some() && list(2, at(60)) == first);
    let entry = CrlEntry { serial: vec![7], revoked_at: at(60), reason: None };
    let named = authorities.root_crl(vec![entry], 3, at(60)).unwrap();
    assert_ne!(named, first);
    let away = temp.path().join("safe");
    std::fs::rename(path.join("root.key"), &away).unwrap();
    assert_eq!(list(4, at(20 * 86_400)), named, "stale beats none, and says so by its dates");
    std::fs::write(path.join("root.crl"), "damaged").unwrap();
    assert_eq!(list(5, at(60)), None);
    std::fs::rename(&away, path.join("root.key")).unwrap();
    assert!(list(6, at(60)).is_some());
}

#[test]
fn the_signing_authority_before_is_kept_over_a_restart_until_it_has_ended() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("d");
    let running = open(&path).unwrap();
    assert!(running.previous_signing().is_none());
    let before = running.signing();
    running.renew_signing(at(60)).unwrap();
    drop(running);
    let mode = std::fs::metadata(path.join("signing-previous.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = open_at(&path, "market.example", at(120), true).unwrap();
    let kept = again.previous_signing().unwrap();
    assert_eq!(kept.certificate().sha256(), before.certificate().sha256());
    drop(again);
    let later = before.not_after() + Duration::from_secs(1);
    assert!(open_at(&path, "market.example", later, true).unwrap().previous_signing().is_none());
    assert!(!path.join("signing-previous.pem").exists());
}
