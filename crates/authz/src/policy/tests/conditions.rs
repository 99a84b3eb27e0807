//! Modes, audit rules and conditions that load, and the many that do not.

use super::*;

const X: &str = "spiffe://a.example/x";

fn of_role(conditions: &str) -> String {
    problem(&format!("[roles]\nstaff = [{{ caller = {X:?}, {conditions} }}]\n"))
}

fn of_deny(conditions: &str) -> String {
    problem(&format!("[[deny]]\ncaller = {X:?}\n{conditions}\n"))
}

#[test]
fn a_mode_that_is_none_is_refused_and_never_taken_for_audit() {
    assert_eq!(
        problem("mode = \"audi\"\n"),
        "policy.toml:1:8: mode is \"audi\"; it is \"enforce\" or \"audit\"; did you mean \"audit\"?"
    );
    for text in
        ["mode = true\n", "mode = [\"audit\"]\n", "[[deny]]\ncaller = \"spiffe://a.example/x\"\nmode = 1\n"]
    {
        assert!(problem(text).contains("mode must be a string"), "{text}");
    }
    assert!(problem("Mode = \"audit\"\n").contains("did you mean \"mode\"?"));
}

#[test]
fn an_audit_rule_must_be_about_something_known() {
    assert!(problem("[[audit]]\n").contains("for everything write mode = \"audit\""));
    assert!(problem("[[audit]]\nmethods = []\n").contains("methods is empty"));
    assert!(problem("[[audit]]\nmethods = [\"/shop.v1.Ledger/Pots\"]\n").contains("did you mean"));
    assert!(problem("[[audit]]\ncaller = \"spiffe://a.example\"\n").contains("nobody in it"));
    assert!(problem("[[audit]]\nmode = \"enforce\"\n").contains("unknown key \"mode\""));
    assert!(problem("[audit]\nmethods = [\"/shop.v1.Ledger/Post\"]\n").contains("array of tables"));
}

#[test]
fn pins_of_the_wrong_length_or_alphabet_are_refused() {
    for (key, value, clause) in [
        ("spki_sha256", "a".repeat(40), "20 octets instead of 32"),
        ("spki_sha256", "a".repeat(66), "33 octets instead of 32"),
        ("cert_sha256", String::new(), "0 octets instead of 32"),
        ("cert_sha256", "a".repeat(63), "not hexadecimal"),
        ("cert_sha256", "g".repeat(64), "not hexadecimal"),
        ("cert_sha256", "é".repeat(32), "not hexadecimal"),
        ("cert_sha256", format!("aaa:a{}", "a".repeat(60)), "not hexadecimal"),
        ("issuer_key_id", "00".to_owned(), "1 octets instead of 8 to 64"),
        ("issuer_key_id", "a".repeat(130), "65 octets instead of 8 to 64"),
    ] {
        let text = of_role(&format!("{key} = {value:?}"));
        assert!(text.contains(clause), "{text}");
        assert!(text.starts_with("policy.toml:2:"), "{text}");
    }
    let text = of_role(&format!("issuer_key_id = {:?}, serial = {:?}", "a".repeat(40), "1".repeat(42)));
    assert!(text.contains("21 octets instead of 1 to 20"), "{text}");
}

#[test]
fn pins_may_be_written_as_other_tools_print_them() {
    let colons = ["AB"; 32].join(":");
    policy(&format!("[roles]\nstaff = [{{ caller = {X:?}, spki_sha256 = {colons:?} }}]\n"));
    let twice = of_role(&format!("spki_sha256 = [{colons:?}, {:?}]", "ab".repeat(32)));
    assert!(twice.contains("twice"), "{twice}");
}

#[test]
fn an_empty_list_of_pins_is_refused() {
    assert!(of_role("spki_sha256 = []").contains("no certificate could ever meet it"));
    assert!(of_deny("spki_sha256 = []").contains("no certificate could ever meet it"));
    assert!(of_role("spki_sha256 = 1").contains("must be a string or an array of strings"));
    assert!(of_role("spki_sha256 = [1]").contains("must be a string"));
}

#[test]
fn a_serial_number_needs_exactly_one_issuer() {
    assert!(of_role("serial = \"0a\"").contains("name it with issuer_key_id"));
    assert!(of_deny("serial = \"0a\"").contains("name it with issuer_key_id"));
    let two = of_role("serial = \"0a\", issuer_key_id = [\"0011223344556677\", \"0011223344556678\"]");
    assert!(two.contains("once"), "{two}");
}

#[test]
fn an_age_that_is_no_span_of_time_is_refused() {
    for value in ["\"60\"", "\"1 h\"", "\"\"", "\"999999999d\"", "\"-1h\""] {
        assert!(
            of_role(&format!("max_certificate_age = {value}")).contains("max_certificate_age: "),
            "{value}"
        );
    }
    assert!(of_role("max_certificate_age = 3600").contains("must be a duration"));
}

#[test]
fn roles_and_deny_rules_do_not_take_each_others_conditions() {
    assert!(of_role("certificate_older_than = \"1h\"").contains("belongs in a deny rule"));
    assert!(of_deny("max_certificate_age = \"1h\"").contains("certificate_older_than"));
}

#[test]
fn a_fingerprint_denies_nothing_because_its_holder_can_change_it() {
    let text = of_deny(&format!("cert_sha256 = {:?}", "a".repeat(64)));
    assert!(text.contains("deny it by spki_sha256"), "{text}");
}

#[test]
fn a_table_without_its_caller_or_with_an_unknown_key_is_refused() {
    assert!(problem("[roles]\nstaff = [{ max_certificate_age = \"1h\" }]\n").contains("caller = "));
    assert!(of_role("max_age = \"1h\"").contains("unknown key \"max_age\""));
    assert!(of_role("spki_sha265 = \"aa\"").contains("did you mean \"spki_sha256\"?"));
}

#[test]
fn the_same_caller_twice_is_fine_with_another_condition_and_refused_with_the_same() {
    let one = format!("{{ caller = {X:?}, max_certificate_age = \"1h\" }}");
    let two = format!("{{ caller = {X:?}, max_certificate_age = \"60m\" }}");
    let other = format!("{{ caller = {X:?}, max_certificate_age = \"2h\" }}");
    policy(&format!("[roles]\nstaff = [{one}, {other}]\n"));
    assert!(problem(&format!("[roles]\nstaff = [{one}, {two}]\n")).contains("listed twice"));
}
