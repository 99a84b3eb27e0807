//! What the policy refuses, and policies that are refused themselves.

use crate::caller::Caller;
use crate::person::asks;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_the_role_is_led_to_the_role_it_needs_and_where_it_is_bound() {
    let world = World::begin();
    let ledger = world.ledger();
    let line = Caller::enrolled(&world, "nobody").await.totals(ledger.address()).await.unwrap_err();
    asks(&world, "wrong role", &line).and(&[
        "spiffe://market.example/nobody",
        "/market.ledger.v1.Ledger/GetTotals",
        "policy.toml:4",
        "ledger-reader = [\"spiffe://market.example/reports\", \"spiffe://market.example/nobody\"]",
        "the call is allowed, by the role ledger-reader",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whom_a_deny_rule_names_is_led_to_the_rule() {
    let world = World::begin();
    world.set_policy("[[deny]]\ncaller = \"spiffe://market.example/reports\"\n");
    let ledger = world.ledger();
    let line = Caller::enrolled(&world, "reports").await.totals(ledger.address()).await.unwrap_err();
    asks(&world, "deny rule", &line).and(&["spiffe://market.example/reports", "policy.toml:6"]);
}

#[test]
fn a_service_with_a_typo_in_its_policy_is_led_to_the_line_and_the_word_that_was_meant() {
    let world = World::begin();
    // Whoever runs on tells what can be called here.
    let _ledger = world.ledger();
    world.set_policy("ledger-raeder = [\"spiffe://market.example/till\"]\n");
    let text = world.service("payments").cannot_start();
    asks(&world, "policy typo", &text).and(&["ledger-raeder", "policy.toml:6"]);
}

#[test]
fn a_service_whose_policy_breaks_a_promise_of_its_own_is_led_to_the_test_that_fails() {
    let world = World::begin();
    let _ledger = world.ledger();
    world.set_policy(
        "[[test]]\ncaller = \"spiffe://market.example/reports\"\nmethod = \"/market.ledger.v1.Ledger/Post\"\n\
         expect = \"allow\"\n",
    );
    let text = world.service("payments").cannot_start();
    asks(&world, "policy test fails", &text).and(&["policy.toml:6", "ROLE_MISSING", "ledger-writer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_service_whose_policy_is_replaced_by_a_bad_one_goes_on_and_names_the_line() {
    let world = World::begin();
    let ledger = world.ledger();
    world.set_policy("[[deny]]\ncaler = \"spiffe://market.example/reports\"\n");
    let line = ledger.running().says(&["the last good policy stays in force"]);
    asks(&world, "bad policy while running", &line).and(&["caler", "policy.toml:7"]);
    assert_eq!(Caller::enrolled(&world, "reports").await.totals(ledger.address()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_audit_mode_lets_through_is_on_record_as_one_that_would_be_refused() {
    let world = World::begin();
    world.replace_policy(|policy| format!("mode = \"audit\"\n{policy}"));
    let ledger = world.ledger();
    assert_eq!(Caller::enrolled(&world, "nobody").await.totals(ledger.address()).await, Ok(()));
    let line = ledger.running().says(&["call let through in audit mode"]);
    asks(&world, "audit mode", &line).and(&["spiffe://market.example/nobody", "ledger-reader"]);
}
