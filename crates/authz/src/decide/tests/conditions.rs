//! Conditions on the certificate: each met and missed, and every unknown on the side that refuses.

use std::time::{Duration, SystemTime};

use super::*;

const POST: &str = "/shop.v1.Ledger/Post";
const X: &str = "spiffe://a.example/x";
const HOUR: Duration = Duration::from_secs(3600);

fn pin(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn bound(conditions: &str) -> Policy {
    policy(&format!("[roles]\nledger-writer = [{{ caller = {X:?}, {conditions} }}]\n"))
}

fn denied_if(conditions: &str) -> Policy {
    policy(&format!("[roles]\nledger-writer = [{X:?}]\n[[deny]]\ncaller = {X:?}\n{conditions}\n"))
}

fn aged(age: Duration) -> Certificate<'static> {
    let not_before = SystemTime::UNIX_EPOCH + HOUR;
    Certificate { not_before: Some(not_before), now: Some(not_before + age), ..Certificate::default() }
}

fn ask(policy: &Policy, certificate: Certificate<'_>) -> Result<Permit, Denial> {
    decide(policy, Caller::Certified(&id(X), certificate), POST)
}

#[test]
fn a_certificate_within_the_maximum_age_holds_the_role_and_an_older_one_does_not() {
    let policy = bound("max_certificate_age = \"1h\"");
    assert!(policy.asks_for_the_time());
    assert_eq!(ask(&policy, aged(HOUR)).unwrap().role(), Some("ledger-writer"));
    let denial = ask(&policy, aged(2 * HOUR)).unwrap_err();
    assert_eq!(denial.reason(), Reason::RoleMissing);
    let failed = denial.failed_condition().unwrap();
    assert_eq!(failed.unmet.condition, "max_certificate_age");
    assert_eq!((failed.unmet.got.as_str(), failed.unmet.want.as_str()), ("an age of 2h", "at most 1h"));
    assert_eq!(failed.location.to_string(), "policy.toml:2");
    assert!(!failed.unmet.unknown);
    assert_eq!(
        denial.detail(),
        "spiffe://a.example/x would hold ledger-writer (policy.toml:2), but max_certificate_age asks for at most 1h, \
         and the certificate has an age of 2h"
    );
    assert_eq!(denial.have(), [""; 0]);
}

#[test]
fn an_age_just_past_the_limit_does_not_read_like_the_limit() {
    let policy = bound("max_certificate_age = \"1h\"");
    let denial = ask(&policy, aged(HOUR + Duration::from_millis(1))).unwrap_err();
    assert_eq!(denial.failed_condition().unwrap().unmet.got, "an age of 3601s");
}

#[test]
fn an_age_that_nobody_can_tell_grants_no_role() {
    let policy = bound("max_certificate_age = \"1h\"");
    let from_the_future = Certificate {
        not_before: Some(SystemTime::UNIX_EPOCH + HOUR),
        now: Some(SystemTime::UNIX_EPOCH + HOUR - Duration::from_secs(1)),
        ..Certificate::default()
    };
    let without_time = Certificate { now: None, ..aged(HOUR) };
    for certificate in [from_the_future, without_time, Certificate::default()] {
        let denial = ask(&policy, certificate).unwrap_err();
        assert!(denial.failed_condition().unwrap().unmet.unknown);
    }
    let x = id(X);
    let denial = decide(&policy, Caller::Peer(&x), POST).unwrap_err();
    assert!(denial.failed_condition().unwrap().unmet.unknown);
}

#[test]
fn a_deny_rule_on_age_denies_the_older_ones_and_those_that_nobody_can_tell() {
    let policy = denied_if("certificate_older_than = \"1h\"");
    assert!(policy.asks_for_the_time());
    assert!(ask(&policy, aged(HOUR)).is_ok());
    let from_the_future = Certificate { now: Some(SystemTime::UNIX_EPOCH), ..aged(HOUR) };
    for certificate in [aged(2 * HOUR), from_the_future, Certificate::default()] {
        assert_eq!(ask(&policy, certificate).unwrap_err().reason(), Reason::DenyRuleMatched);
    }
    let x = id(X);
    assert!(decide(&policy, Caller::Peer(&x), POST).is_err());
}

#[test]
fn each_pin_admits_what_it_pins_and_neither_others_nor_the_unknown() {
    let (a, b) = (pin('a'), pin('b'));
    for (conditions, right, wrong) in [
        (
            format!("spki_sha256 = {a:?}"),
            Certificate { spki_sha256: Some(&a), ..Certificate::default() },
            Certificate { spki_sha256: Some(&b), sha256: Some(&a), ..Certificate::default() },
        ),
        (
            format!("cert_sha256 = {a:?}"),
            Certificate { sha256: Some(&a), ..Certificate::default() },
            Certificate { sha256: Some(&b), spki_sha256: Some(&a), ..Certificate::default() },
        ),
        (
            "issuer_key_id = \"0011223344556677\"".to_owned(),
            Certificate { issuer_key_id: Some("0011223344556677"), ..Certificate::default() },
            Certificate { issuer_key_id: Some("0011223344556678"), ..Certificate::default() },
        ),
        (
            "issuer_key_id = \"0011223344556677\", serial = \"0A\"".to_owned(),
            Certificate {
                issuer_key_id: Some("0011223344556677"),
                serial: Some("0a"),
                ..Certificate::default()
            },
            Certificate {
                issuer_key_id: Some("0011223344556678"),
                serial: Some("0a"),
                ..Certificate::default()
            },
        ),
    ] {
        let policy = bound(&conditions);
        assert!(!policy.asks_for_the_time());
        assert!(ask(&policy, right).is_ok(), "{conditions}");
        for certificate in [wrong, Certificate::default()] {
            let denial = ask(&policy, certificate).unwrap_err();
            assert_eq!(denial.reason(), Reason::RoleMissing, "{conditions}");
            assert_eq!(
                denial.failed_condition().unwrap().unmet.unknown,
                certificate.age().is_none() && {
                    certificate.spki_sha256.is_none() && certificate.issuer_key_id.is_none()
                }
            );
        }
        assert!(decide(&policy, Caller::Peer(&id(X)), POST).is_err(), "{conditions}");
    }
}

#[test]
fn one_of_several_pins_is_enough_and_all_kinds_must_hold() {
    let (a, b, c) = (pin('a'), pin('b'), pin('c'));
    let policy = bound(&format!("spki_sha256 = [{b:?}, {a:?}], cert_sha256 = {c:?}"));
    for spki in [&a, &b] {
        let certificate = Certificate { spki_sha256: Some(spki), sha256: Some(&c), ..Certificate::default() };
        assert!(ask(&policy, certificate).is_ok());
        assert!(ask(&policy, Certificate { sha256: Some(&a), ..certificate }).is_err());
    }
    let certificate = Certificate { spki_sha256: Some(&c), sha256: Some(&c), ..Certificate::default() };
    assert!(ask(&policy, certificate).is_err());
}

#[test]
fn a_deny_rule_with_pins_denies_what_it_pins_and_the_unknown() {
    let (a, b) = (pin('a'), pin('b'));
    let policy = denied_if(&format!("spki_sha256 = {a:?}"));
    let with = |spki| Certificate { spki_sha256: spki, ..Certificate::default() };
    assert!(ask(&policy, with(Some(&b))).is_ok());
    for spki in [Some(a.as_str()), None] {
        assert_eq!(ask(&policy, with(spki)).unwrap_err().reason(), Reason::DenyRuleMatched);
    }
}

#[test]
fn a_role_that_is_also_bound_without_a_condition_is_held_without_one() {
    let text = format!(
        "[roles]\nledger-writer = [{{ caller = {X:?}, max_certificate_age = \"1h\" }}, \"spiffe://a.example/*\"]\n"
    );
    assert!(ask(&policy(&text), aged(2 * HOUR)).is_ok());
}

#[test]
fn two_bindings_of_one_caller_are_alternatives() {
    let (a, b) = (pin('a'), pin('b'));
    let text = format!(
        "[roles]\nledger-writer = [\n{{ caller = {X:?}, max_certificate_age = \"1h\" }},\n\
         {{ caller = {X:?}, spki_sha256 = {a:?} }}]\n"
    );
    let policy = policy(&text);
    assert!(ask(&policy, aged(HOUR)).is_ok());
    assert!(ask(&policy, Certificate { spki_sha256: Some(&a), ..aged(2 * HOUR) }).is_ok());
    assert!(ask(&policy, Certificate { spki_sha256: Some(&b), ..aged(2 * HOUR) }).is_err());
}

#[test]
fn the_debug_role_on_a_condition_discloses_nothing_to_who_misses_it() {
    let text = format!("[roles]\ndebug = [{{ caller = {X:?}, max_certificate_age = \"1h\" }}]\n");
    let policy = policy(&text);
    assert!(ask(&policy, aged(HOUR)).unwrap_err().holds_debug_role());
    assert!(!ask(&policy, aged(2 * HOUR)).unwrap_err().holds_debug_role());
}

#[test]
fn a_condition_in_audit_mode_is_recorded_and_not_enforced() {
    let text = format!(
        "mode = \"audit\"\n[roles]\nledger-writer = [{{ caller = {X:?}, max_certificate_age = \"1h\" }}]\n"
    );
    let permit = ask(&policy(&text), aged(2 * HOUR)).unwrap();
    assert_eq!(permit.audited().unwrap().failed_condition().unwrap().unmet.condition, "max_certificate_age");
}

#[test]
fn the_nearest_binding_of_the_role_is_named() {
    let text = "[roles]\nledger-writer = [\n\"spiffe://b.example/x\",\n\"spiffe://a.example/ns/pay/ledger\",\n\
                \"spiffe://a.example/other\"]\n";
    let policy = policy(text);
    let caller = id("spiffe://a.example/ns/pay/ledgers");
    let denial = refused(&policy, Caller::Peer(&caller), POST);
    let nearest = denial.nearest().unwrap();
    assert_eq!(nearest.role, Some("ledger-writer"));
    assert_eq!(nearest.caller, "spiffe://a.example/ns/pay/ledger");
    assert_eq!(nearest.location.to_string(), "policy.toml:4");
    assert_eq!(policy.nearest_binding(&caller, POST).as_ref(), Some(nearest));
    assert!(
        denial.detail().contains("the nearest that holds ledger-writer is spiffe://a.example/ns/pay/ledger")
    );
}
