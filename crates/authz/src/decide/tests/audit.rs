//! Audit mode: what it lets through, and above all what it never does.

use super::*;

const EVERYTHING: &str = "mode = \"audit\"\n";
const POST: &str = "/shop.v1.Ledger/Post";
const READ: &str = "/shop.v1.Ledger/Read";

fn in_audit_mode() -> Policy {
    policy(&format!("{EVERYTHING}{POLICY}"))
}

/// The refusal that audit mode has kept from refusing.
fn audited(policy: &Policy, caller: &str, path: &str) -> Denial {
    let id = id(caller);
    let permit = decide(policy, Caller::Peer(&id), path).expect(path);
    assert_eq!(permit.path(), path);
    permit.audited().expect("an audited permit").clone()
}

fn allowed(policy: &Policy, caller: &str, path: &str) {
    let id = id(caller);
    let permit = decide(policy, Caller::Peer(&id), path).expect(path);
    assert!(permit.audited().is_none(), "{caller} {path}");
}

#[test]
fn a_policy_in_audit_mode_lets_a_missing_role_and_a_denied_caller_through_and_says_why() {
    let policy = in_audit_mode();
    assert!(policy.audits());
    let denial = audited(&policy, "spiffe://shop.example/orders", POST);
    assert_eq!(denial.reason(), Reason::RoleMissing);
    assert_eq!(denial.need(), ["ledger-writer"]);
    assert_eq!(denial.audit_location().unwrap().to_string(), "policy.toml:1");
    let denial = audited(&policy, "spiffe://shop.example/staff/mallory", POST);
    assert_eq!(denial.reason(), Reason::DenyRuleMatched);
    assert_eq!(denial.location().unwrap().to_string(), "policy.toml:8");
    allowed(&policy, "spiffe://shop.example/payments", POST);
}

#[test]
fn an_audited_permit_names_no_role_that_the_caller_lacks() {
    let orders = id("spiffe://shop.example/orders");
    assert_eq!(decide(&in_audit_mode(), Caller::Peer(&orders), POST).unwrap().role(), None);
}

#[test]
fn audit_mode_opens_nothing_to_callers_without_an_identity() {
    let policy = in_audit_mode();
    for caller in [Caller::Anonymous, Caller::LocalAdmin] {
        for path in [POST, READ, "/shop.v1.Shop/Look", "/grpc.health.v1.Health/Check"] {
            assert_eq!(refused(&policy, caller, path).reason(), Reason::NoPeerIdentity, "{path}");
        }
    }
}

#[test]
fn audit_mode_opens_no_unknown_method_and_no_local_admin_method() {
    let policy = in_audit_mode();
    let payments = id("spiffe://shop.example/payments");
    for path in ["/shop.v1.Ledger/Burn", "/shop.v1.Admin/Close", "", "*"] {
        assert_eq!(refused(&policy, Caller::Peer(&payments), path).reason(), Reason::NoAllowRule, "{path}");
    }
}

#[test]
fn a_denied_caller_of_a_local_admin_method_is_refused_in_audit_mode_too() {
    let policy = in_audit_mode();
    let till = id("spiffe://shop.example/old/till");
    assert_eq!(refused(&policy, Caller::Peer(&till), "/shop.v1.Admin/Close").reason(), Reason::NoAllowRule);
}

#[test]
fn what_asks_for_the_debug_role_is_never_opened_by_audit_mode() {
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let orders = id("spiffe://shop.example/orders");
    let rule = format!("[[audit]]\nmethods = [{reflection:?}]\n");
    for text in [EVERYTHING, &rule] {
        let denial = refused(&policy(text), Caller::Peer(&orders), reflection);
        assert_eq!(denial.reason(), Reason::RoleMissing, "{text}");
    }
}

#[test]
fn a_deny_rule_in_audit_mode_records_and_another_one_still_refuses() {
    let text = "[roles]\nledger-writer = [\"spiffe://a.example/x\"]\n\
                [[deny]]\ncaller = \"spiffe://a.example/x\"\nmode = \"audit\"\n\
                [[deny]]\ncaller = \"spiffe://a.example/*\"\nmethods = [\"/shop.v1.Ledger/Read\"]\n";
    let policy = policy(text);
    let denial = audited(&policy, "spiffe://a.example/x", POST);
    assert_eq!(denial.reason(), Reason::DenyRuleMatched);
    assert_eq!(denial.audit_location().unwrap().to_string(), "policy.toml:3");
    let x = id("spiffe://a.example/x");
    let denial = refused(&policy, Caller::Peer(&x), READ);
    assert_eq!(denial.location().unwrap().to_string(), "policy.toml:6");
}

#[test]
fn a_deny_rule_in_audit_mode_gives_nobody_a_role() {
    let text = "[[deny]]\ncaller = \"spiffe://a.example/x\"\nmode = \"audit\"\n";
    let x = id("spiffe://a.example/x");
    assert_eq!(refused(&policy(text), Caller::Peer(&x), POST).reason(), Reason::RoleMissing);
}

#[test]
fn a_deny_rule_may_be_enforced_in_a_policy_that_is_in_audit_mode() {
    let text = "mode = \"audit\"\n[[deny]]\ncaller = \"spiffe://a.example/x\"\nmode = \"enforce\"\n";
    let x = id("spiffe://a.example/x");
    assert_eq!(refused(&policy(text), Caller::Peer(&x), POST).reason(), Reason::DenyRuleMatched);
    audited(&policy(text), "spiffe://a.example/y", POST);
}

#[test]
fn an_audit_rule_is_about_its_methods_and_its_callers_only() {
    let text = "[[audit]]\nmethods = [\"/shop.v1.Ledger/Post\"]\ncaller = \"spiffe://a.example/batch/*\"\n";
    let policy = policy(text);
    assert_eq!(audited(&policy, "spiffe://a.example/batch/1", POST).reason(), Reason::RoleMissing);
    for (caller, path) in [
        ("spiffe://a.example/batch/1", READ),
        ("spiffe://a.example/batch", POST),
        ("spiffe://b.example/batch/1", POST),
    ] {
        let id = id(caller);
        assert_eq!(
            refused(&policy, Caller::Peer(&id), path).reason(),
            Reason::RoleMissing,
            "{caller} {path}"
        );
    }
}

#[test]
fn an_audit_rule_does_not_soften_a_deny_rule() {
    let text = "[[audit]]\nmethods = [\"/shop.v1.Ledger/*\"]\n[[deny]]\ncaller = \"spiffe://a.example/x\"\n";
    let x = id("spiffe://a.example/x");
    assert_eq!(refused(&policy(text), Caller::Peer(&x), POST).reason(), Reason::DenyRuleMatched);
}

#[test]
fn a_policy_that_enforces_says_so() {
    assert!(!policy(POLICY).audits());
    assert!(!policy(&format!("mode = \"enforce\"\n{POLICY}")).audits());
    let orders = id("spiffe://shop.example/orders");
    refused(&policy("mode = \"enforce\"\n[roles]\nstaff = []\n"), Caller::Peer(&orders), POST);
}
