//! Policy files that load, and the many that do not.

use super::*;
use crate::testing::{POLICY, id, methods, policy};

fn problems(text: &str) -> Vec<String> {
    let error = Policy::load("policy.toml", text, &methods()).unwrap_err();
    error.problems().iter().map(ToString::to_string).collect()
}

fn problem(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn roles_add_up_over_exact_ids_and_prefixes() {
    let policy = policy(POLICY);
    assert_eq!(policy.roles_of(&id("spiffe://shop.example/staff/olga")), ["debug", "staff"]);
    assert_eq!(policy.roles_of(&id("spiffe://audit.example/x/y")), ["auditor"]);
    assert_eq!(policy.roles_of(&id("spiffe://shop.example/staffer")), [""; 0]);
}

#[test]
fn a_file_that_says_nothing_is_no_policy() {
    for (text, why) in [
        ("", "the file is empty"),
        (" \t\n\r\n\n", "the file is empty"),
        ("\u{feff}", "the file is empty"),
        ("\u{feff}\n", "the file is empty"),
        ("# [roles]\n# staff = []", "the file has nothing but comments"),
        ("\u{feff}# x\n", "the file has nothing but comments"),
        ("[roles]\n", "nothing in it binds, denies or tests anything"),
        ("roles = {}\n", "nothing in it binds"),
        ("deny = []\naudit = []\ntest = []\n", "nothing in it binds"),
        ("mode = \"enforce\"\n", "nothing in it binds"),
    ] {
        let problem = problem(text);
        assert!(problem.starts_with("policy.toml:1:1: no policy: ") && problem.contains(why), "{problem}");
        assert!(problem.ends_with("says `debug = []` under [roles]"), "{problem}");
        Policy::load_told("policy.toml", text, &methods()).unwrap();
    }
}

#[test]
fn what_the_refusal_of_an_empty_file_proposes_gives_nobody_a_role() {
    let policy = policy("[roles]\ndebug = []\n");
    assert_eq!(policy.roles_of(&id("spiffe://shop.example/payments")), [""; 0]);
}

#[test]
fn a_file_that_says_little_is_a_policy() {
    for text in [
        "mode = \"audit\"\n",
        "[roles]\nstaff = []\n",
        "[[deny]]\ncaller = \"spiffe://a.example/x\"\n",
        "[[audit]]\ncaller = \"spiffe://a.example/x\"\n",
        "[[test]]\ncaller = \"anonymous\"\nmethod = \"/shop.v1.Ledger/Post\"\nexpect = \"deny\"\n",
    ] {
        policy(text);
    }
}

#[test]
fn what_a_process_tells_of_its_policy_may_be_nothing_but_not_bad() {
    assert!(Policy::load_told("(no policy file)", "", &methods()).is_ok());
    assert!(Policy::load_told("policy.toml", "[rolls]\n", &methods()).is_err());
}

#[test]
fn a_byte_order_mark_is_skipped_and_moves_no_place() {
    assert_eq!(policy(&format!("\u{feff}{POLICY}")).roles_of(&id("spiffe://audit.example/x/y")), ["auditor"]);
    assert_eq!(problem("\u{feff}[rolls]\n"), problem("[rolls]\n"));
    assert!(problem("\u{feff}[roles]\nstaff = @\n").starts_with("policy.toml:2:"));
    assert!(problem("[roles]\n\u{feff}staff = []\n").starts_with("policy.toml:2:"), "only at the beginning");
}

#[test]
fn the_version_is_the_beginning_of_the_contents_sha256() {
    assert_eq!(Policy::without_roles(&methods()).version(), "e3b0c44298fc");
    assert_eq!(policy("mode = \"audit\"").version(), "d629337b1036");
    assert_ne!(policy("mode = \"audit\"").version(), policy("\u{feff}mode = \"audit\"").version());
}

#[test]
fn an_unknown_role_is_refused_with_its_place_and_what_was_meant() {
    assert_eq!(
        problem("[roles]\n\nledger-writr = []\n"),
        "policy.toml:3:1: no RPC asks for the role \"ledger-writr\"; did you mean \"ledger-writer\"?"
    );
    assert_eq!(problem("[roles]\nemperor = []\n"), "policy.toml:2:1: no RPC asks for the role \"emperor\"");
}

#[test]
fn an_unknown_method_is_refused_with_its_place_and_what_was_meant() {
    let text = "[[deny]]\ncaller = \"spiffe://a.example/x\"\nmethods = [\"/shop.v1.Ledger/Pots\"]\n";
    assert_eq!(
        problem(text),
        "policy.toml:3:12: the contract has no method \"/shop.v1.Ledger/Pots\"; \
         did you mean \"/shop.v1.Ledger/Post\"?"
    );
}

#[test]
fn a_method_star_stands_for_a_whole_service_only() {
    for star in ["/*", "*", "/shop.v1.Led*", "/shop.v1.Ledger/P*", "/shop.v1.Ledgers/*", "//*"] {
        let text = format!("[[deny]]\ncaller = \"spiffe://a.example/x\"\nmethods = [{star:?}]\n");
        assert!(problem(&text).contains("the contract has no method"), "{star}");
    }
}

#[test]
fn an_unknown_key_is_refused_anywhere() {
    assert_eq!(problem("[role]\n"), "policy.toml:1:2: unknown key \"role\"; did you mean \"roles\"?");
    assert_eq!(
        problem("[[deny]]\ncaller = \"spiffe://a.example/x\"\nmethod = []\n"),
        "policy.toml:3:1: unknown key \"method\"; did you mean \"methods\"?"
    );
    assert_eq!(problem("allow_all = true\n"), "policy.toml:1:1: unknown key \"allow_all\"");
}

#[test]
fn callers_without_trust_domain_with_odd_stars_or_bad_ids_are_refused() {
    for (caller, clause) in [
        ("/payments", "no trust domain"),
        ("*", "no trust domain"),
        ("spiffe://shop.example/pay*", "whole last segment"),
        ("spiffe://shop.example", "nobody in it"),
        ("spiffe://Shop.example/x", "not a SPIFFE ID"),
    ] {
        let text = problem(&format!("[roles]\nstaff = [{caller:?}]\n"));
        assert!(text.starts_with("policy.toml:2:10: "), "{text}");
        assert!(text.contains(clause), "{text}");
        let text = problem(&format!("[[deny]]\ncaller = {caller:?}\n"));
        assert!(text.contains(clause), "{text}");
    }
}

#[test]
fn a_caller_twice_in_a_role_is_refused_and_in_two_roles_is_fine() {
    let twice = "[roles]\nstaff = [\"spiffe://a.example/x\",\n  \"spiffe://a.example/x\"]\n";
    assert_eq!(problem(twice), "policy.toml:3:3: \"spiffe://a.example/x\" is listed twice in this role");
    policy("[roles]\nstaff = [\"spiffe://a.example/x\"]\nauditor = [\"spiffe://a.example/x\"]\n");
}

#[test]
fn a_role_twice_is_refused() {
    assert!(problem("[roles]\nstaff = []\nstaff = []\n").starts_with("policy.toml:3:1: "));
}

#[test]
fn deny_rules_must_say_whom_and_may_not_say_nothing() {
    assert!(problem("[[deny]]\nmethods = [\"/shop.v1.Ledger/Post\"]\n").contains("must say which caller"));
    assert!(
        problem("[[deny]]\ncaller = \"spiffe://a.example/x\"\nmethods = []\n").contains("methods is empty")
    );
    let twice = "[[deny]]\ncaller = \"spiffe://a.example/x\"\n\
                 methods = [\"/shop.v1.Ledger/Post\", \"/shop.v1.Ledger/Post\"]\n";
    assert!(problem(twice).contains("listed twice"));
}

#[test]
fn a_bad_deny_rule_never_turns_into_a_narrower_or_wider_one() {
    let text = "[[deny]]\ncaller = \"spiffe://a.example/x\"\nmethods = \"/shop.v1.Ledger/Post\"\n";
    assert!(problem(text).contains("methods must be an array of strings"));
}

#[test]
fn wrong_types_are_refused() {
    for text in [
        "roles = 1\n",
        "deny = 1\n",
        "deny = [1]\n",
        "[deny]\ncaller = \"spiffe://a.example/x\"\n",
        "[roles]\nstaff = \"spiffe://a.example/x\"\n",
        "[roles]\nstaff = [1]\n",
        "[[deny]]\ncaller = 1\n",
        "[[deny]]\ncaller = \"spiffe://a.example/x\"\nmethods = [1]\n",
    ] {
        assert!(problems(text).iter().any(|problem| problem.contains(" must be ")), "{text}");
    }
}

#[test]
fn a_syntax_error_names_its_place() {
    assert!(problems("[roles]\nstaff = [\n")[0].starts_with("policy.toml:"));
    assert!(problems("[roles]\nstaff = @\n")[0].starts_with("policy.toml:2:"));
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "[roles]\nzzz = []\nstaff = [\"x\"]\n\n[[deny]]\n";
    let places: Vec<_> = problems(text).iter().map(|problem| problem[..14].to_owned()).collect();
    assert_eq!(places, ["policy.toml:2:", "policy.toml:3:", "policy.toml:5:"]);
}

mod conditions;
mod page;
mod self_tests;
mod unused;
