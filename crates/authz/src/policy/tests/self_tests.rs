//! `[[test]]` blocks: those that hold, those that fail, and those that are none.

use super::*;

fn with_test(test: &str) -> String {
    format!("{POLICY}\n[[test]]\n{test}\n")
}

fn holds(test: &str) {
    let policy = policy(&with_test(test));
    assert_eq!(policy.tests(), 1);
}

fn fails(test: &str) -> String {
    problem(&with_test(test))
}

#[test]
fn tests_that_hold_load_and_are_counted() {
    for test in [
        "caller = \"spiffe://shop.example/payments\"\nmethod = \"/shop.v1.Ledger/Post\"\nexpect = \"allow\"",
        "caller = \"spiffe://shop.example/orders\"\nmethod = \"/shop.v1.Ledger/Post\"\nexpect = \"deny\"",
        "caller = \"spiffe://shop.example/orders\"\nmethod = \"/shop.v1.Ledger/Post\"\nexpect = \"deny\"\n\
         reason = \"ROLE_MISSING\"",
        "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Knock\"\nexpect = \"allow\"",
        "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deny\"\nreason = \"NO_PEER_IDENTITY\"",
        "caller = \"local-admin\"\nmethod = \"/shop.v1.Admin/Close\"\nexpect = \"allow\"",
        "caller = \"spiffe://shop.example/old/till\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deny\"\n\
         reason = \"DENY_RULE_MATCHED\"",
    ] {
        holds(test);
    }
    assert_eq!(policy(POLICY).tests(), 0);
}

#[test]
fn a_failing_test_refuses_the_policy_with_its_place_what_was_expected_and_what_came_out() {
    let text = fails(
        "caller = \"spiffe://shop.example/staff/peter\"\nmethod = \"/shop.v1.Ledger/Read\"\nexpect = \"deny\"",
    );
    assert_eq!(
        text,
        "policy.toml:14:1: this test fails: spiffe://shop.example/staff/peter calls /shop.v1.Ledger/Read: expected \
         deny, but it is allow by the role \"staff\""
    );
    let text = fails(
        "caller = \"spiffe://shop.example/pay\"\nmethod = \"/shop.v1.Ledger/Post\"\nexpect = \"allow\"",
    );
    assert!(text.contains("expected allow, but it is deny with ROLE_MISSING (policy.toml:2)"), "{text}");
    assert!(
        text.contains("the nearest that holds ledger-writer is spiffe://shop.example/payments"),
        "{text}"
    );
}

#[test]
fn a_deny_for_another_reason_than_the_tests_fails() {
    let text = fails(
        "caller = \"spiffe://shop.example/staff/mallory\"\nmethod = \"/shop.v1.Ledger/Post\"\nexpect = \"deny\"\n\
         reason = \"ROLE_MISSING\"",
    );
    assert!(
        text.contains("expected deny with ROLE_MISSING, but it is deny with DENY_RULE_MATCHED"),
        "{text}"
    );
}

#[test]
fn all_failing_tests_are_reported_at_once() {
    let block = "\n[[test]]\ncaller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"allow\"\n";
    assert_eq!(problems(&format!("{POLICY}{block}{block}")).len(), 2);
}

#[test]
fn audit_mode_neither_breaks_a_test_nor_hides_what_would_be_refused() {
    let test = "[[test]]\ncaller = \"spiffe://shop.example/orders\"\nmethod = \"/shop.v1.Ledger/Post\"\n";
    policy(&format!("mode = \"audit\"\n{test}expect = \"deny\"\nreason = \"ROLE_MISSING\"\n"));
    let text = problem(&format!("mode = \"audit\"\n{test}expect = \"allow\"\n"));
    assert!(text.contains("it is deny with ROLE_MISSING"), "{text}");
}

#[test]
fn tests_say_what_the_certificate_is_where_the_policy_asks() {
    let pin = "a".repeat(64);
    let roles = format!(
        "[roles]\nstaff = [{{ caller = \"spiffe://a.example/x\", max_certificate_age = \"1h\", spki_sha256 = {pin:?} }}]\n"
    );
    let test = |facts: &str, expect: &str| {
        format!(
            "{roles}[[test]]\ncaller = \"spiffe://a.example/x\"\nmethod = \"/shop.v1.Ledger/Read\"\n\
             expect = {expect:?}\n{facts}"
        )
    };
    let both = format!("certificate_age = \"59m\"\nspki_sha256 = {pin:?}\n");
    policy(&test(&both, "allow"));
    policy(&test("", "deny"));
    policy(&test("certificate_age = \"59m\"\n", "deny"));
    policy(&test(&both.replace("59m", "61m"), "deny"));
    assert!(problem(&test("certificate_age = \"59m\"\n", "allow")).contains("spki_sha256 asks for aaaa"));
}

#[test]
fn what_is_no_test_is_refused_with_what_was_meant() {
    for (test, clause) in [
        ("", "a test must have caller"),
        (
            "caller = \"anonymus\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deny\"",
            "did you mean \"anonymous\"?",
        ),
        (
            "caller = \"spiffe://a.example/*\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deny\"",
            "calls as one",
        ),
        (
            "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Lok\"\nexpect = \"deny\"",
            "did you mean \"/shop.v1.Shop/Look\"?",
        ),
        (
            "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/*\"\nexpect = \"deny\"",
            "the contract has no method",
        ),
        (
            "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deni\"",
            "did you mean \"deny\"?",
        ),
        ("caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = true", "expect must be a string"),
        (
            "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deny\"\nreason = \"NO_PEER_IDENTIY\"",
            "did you mean \"NO_PEER_IDENTITY\"?",
        ),
        (
            "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deny\"\nreason = \"CERT_EXPIRED\"",
            "no decision has the reason",
        ),
        (
            "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Knock\"\nexpect = \"allow\"\nreason = \"ROLE_MISSING\"",
            "what is allowed has no reason",
        ),
        (
            "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deny\"\ncertificate_age = \"1h\"",
            "anonymous has no certificate",
        ),
        (
            "caller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"deny\"\nexpct = \"deny\"",
            "did you mean \"expect\"?",
        ),
    ] {
        let found = problems(&with_test(test));
        assert!(found.iter().any(|problem| problem.contains(clause)), "{test}: {found:?}");
    }
    assert!(problem("test = 1\n").contains("array of tables"));
    assert!(problem("test = [1]\n").contains("array of tables"));
}

#[test]
fn tests_are_not_run_on_a_policy_that_has_another_problem() {
    let text = "[roles]\nzzz = []\n[[test]]\ncaller = \"anonymous\"\nmethod = \"/shop.v1.Shop/Look\"\nexpect = \"allow\"\n";
    assert!(problem(text).contains("zzz"));
}
