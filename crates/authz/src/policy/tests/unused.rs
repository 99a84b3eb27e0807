//! Lines without effect are found, and lines with one are not.

use super::*;

fn unused(text: &str) -> Vec<String> {
    policy(text).unused().iter().map(ToString::to_string).collect()
}

#[test]
fn a_reviewed_policy_has_no_unused_line() {
    assert_eq!(unused(POLICY), [""; 0]);
    assert_eq!(unused("mode = \"audit\"\n"), [""; 0]);
}

#[test]
fn bindings_that_a_wider_line_makes_superfluous_are_found() {
    let text = "[roles]\nstaff = [\n\"spiffe://a.example/ns/*\",\n\"spiffe://a.example/ns/x\",\n\
                \"spiffe://a.example/ns/y/*\",\n\"spiffe://a.example/ns\"]\n\
                auditor = [\"spiffe://a.example/ns/x\"]\ndebug = []\n";
    assert_eq!(
        unused(text),
        [
            "policy.toml:4: spiffe://a.example/ns/x holds \"staff\" already by spiffe://a.example/ns/*",
            "policy.toml:5: spiffe://a.example/ns/y/* holds \"staff\" already by spiffe://a.example/ns/*",
            "policy.toml:8: the role \"debug\" is bound to nobody",
        ]
    );
}

#[test]
fn a_condition_that_an_unconditional_binding_undoes_is_found_and_the_reverse_is_not() {
    let conditional = "{ caller = \"spiffe://a.example/x\", max_certificate_age = \"1h\" }";
    assert_eq!(unused(&format!("[roles]\nstaff = [{conditional}, \"spiffe://a.example/x\"]\n")).len(), 1);
    let wider = conditional.replace("/x", "/*");
    assert_eq!(unused(&format!("[roles]\nstaff = [{wider}, \"spiffe://a.example/x\"]\n")), [""; 0]);
}

#[test]
fn deny_rules_of_what_nobody_could_call_anyway_are_found() {
    let text = "[roles]\nstaff = [\"spiffe://a.example/x\"]\n\
                [[deny]]\ncaller = \"spiffe://a.example/x\"\nmethods = [\"/shop.v1.Ledger/Post\"]\n\
                [[deny]]\ncaller = \"spiffe://a.example/*\"\nmethods = [\"/shop.v1.Ledger/Read\"]\n\
                [[deny]]\ncaller = \"spiffe://b.example/*\"\nmethods = [\"/shop.v1.Shop/Look\"]\n\
                [[deny]]\ncaller = \"spiffe://b.example/*\"\nmethods = [\"/shop.v1.Admin/Close\"]\n";
    let found = unused(text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("policy.toml:3: "), "{found:?}");
    assert!(found[1].starts_with("policy.toml:12: "), "{found:?}");
}

#[test]
fn a_deny_rule_under_a_wider_one_is_found_unless_the_wider_one_only_records() {
    let text = "[[deny]]\ncaller = \"spiffe://a.example/*\"\n[[deny]]\ncaller = \"spiffe://a.example/x\"\n";
    assert_eq!(unused(text), ["policy.toml:3: deny spiffe://a.example/x: line 1 denies it already"]);
    let records = text.replacen("/*\"\n", "/*\"\nmode = \"audit\"\n", 1);
    assert_eq!(unused(&records), [""; 0]);
}

#[test]
fn a_deny_rule_that_takes_back_what_audit_mode_lets_through_is_used() {
    let text = "mode = \"audit\"\n[[deny]]\ncaller = \"spiffe://a.example/x\"\n\
                methods = [\"/shop.v1.Ledger/Post\"]\nmode = \"enforce\"\n";
    assert_eq!(unused(text), [""; 0]);
}

#[test]
fn audit_rules_that_audit_nothing_are_found() {
    for (text, count) in [
        ("[[audit]]\nmethods = [\"/shop.v1.Ledger/Post\"]\n", 0),
        ("[[audit]]\ncaller = \"spiffe://a.example/*\"\n", 0),
        ("[[audit]]\nmethods = [\"/shop.v1.Shop/Look\"]\n", 1),
        ("[[audit]]\nmethods = [\"/grpc.reflection.v1.ServerReflection/*\"]\n", 1),
        ("mode = \"audit\"\n[[audit]]\nmethods = [\"/shop.v1.Ledger/Post\"]\n", 1),
        (
            "[[audit]]\nmethods = [\"/shop.v1.Ledger/*\"]\n[[audit]]\nmethods = [\"/shop.v1.Ledger/Post\"]\n",
            1,
        ),
    ] {
        assert_eq!(unused(text).len(), count, "{text}");
    }
}
