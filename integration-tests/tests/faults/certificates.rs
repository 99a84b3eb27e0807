//! Certificates that one side or the other cannot take.

use crate::caller::{Caller, files};
use crate::person::asks;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_an_expired_svid_is_led_to_which_certificate_ended_and_when() {
    let world = World::begin();
    let files = files(&world, "reports", Some("5s")).await;
    let ledger = world.ledger();
    files.expired().await;
    let caller = Caller::with_files(&files);
    let line = caller.totals(ledger.address()).await.unwrap_err();
    asks(&world, "expired SVID", &line).and(&["spiffe://market.example/reports"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_another_issuer_with_the_same_name_is_led_to_the_authority_nobody_knows() {
    let (world, other) = (World::begin(), World::begin());
    let ledger = world.ledger();
    let mut files = files(&other, "reports", None).await;
    // It trusts this domain; this domain does not trust it.
    files.bundle = crate::caller::files(&world, "auditor", None).await.bundle;
    let caller = Caller::with_files(&files);
    let line = caller.totals(ledger.address()).await.unwrap_err();
    asks(&world, "unknown CA", &line)
        .and(&["spiffe://market.example/reports", &ledger.address().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_its_intermediate_is_led_to_the_authority_that_is_absent() {
    let world = World::begin();
    let ledger = world.ledger();
    let files = files(&world, "reports", None).await;
    let chain = std::fs::read_to_string(&files.certificate).unwrap();
    let second = chain.match_indices("-----BEGIN").nth(1).unwrap().0;
    std::fs::write(&files.certificate, &chain[..second]).unwrap();
    let caller = Caller::with_files(&files);
    let line = caller.totals(ledger.address()).await.unwrap_err();
    asks(&world, "missing intermediate", &line).and(&["market.example signing authority"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_a_stale_bundle_is_led_to_the_root_that_it_lacks() {
    let (world, before) = (World::begin(), World::begin());
    let ledger = world.ledger();
    let mut files = files(&world, "reports", None).await;
    // From before the root was replaced.
    files.bundle = crate::caller::files(&before, "reports", None).await.bundle;
    let caller = Caller::with_files(&files);
    let line = caller.totals(ledger.address()).await.unwrap_err();
    asks(&world, "stale bundle", &line).and(&["spiffe://market.example/ledger"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_finds_somebody_else_is_told_who_was_expected_and_who_is_there() {
    let world = World::begin();
    let ledger = world.ledger();
    let caller = Caller::enrolled(&world, "reports").await;
    let line = caller.totals_of(ledger.address(), "payments").await.unwrap_err();
    assert!(line.contains("spiffe://market.example/payments"), "{line}");
    asks(&world, "wrong server identity", &line)
        .and(&["spiffe://market.example/ledger", &ledger.address().to_string()]);
}
