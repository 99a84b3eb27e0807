//! The state table of `docs/bootstrap-and-recovery.md`: one test per transition, of the same name, with a real issuer
//! on loopback and the identity library as its client. Time is the test's own.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "../issuer/harness.rs"]
#[allow(dead_code, reason = "this test uses its part")]
mod harness;
mod world;

use std::time::Duration;

use avouch_identity::spiffe::Reason;
use avouch_identity::{Identity, IdentityError, reason};
use avouch_time::clock::ManualClock;
use world::{World, id};

fn refusal(error: &IdentityError) -> Option<Reason> {
    match error {
        IdentityError::Refused { status, .. } => reason(status),
        _ => None,
    }
}

fn serial(identity: &Identity) -> String {
    identity.snapshot().svid.leaf().serial().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_with_a_token_becomes_live() {
    let world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    assert_eq!(identity.spiffe_id(), id("/orders"));
    assert!(world.state_file("svid.pem").exists());
    assert!(!world.state_file("pending-key.pem").exists(), "the pending key is forgotten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_without_a_token_says_which_command_helps() {
    let world = World::start().await;
    let error = world.workload_without_token().start().await.expect_err("no token");
    assert!(error.to_string().contains("avouch token create"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_refuses_an_issuer_that_the_token_does_not_pin() {
    let world = World::start().await;
    let other = World::start().await;
    other.register("/orders").await;
    let token = other.token("/orders").await;
    world.put_token(&token);
    let error = world.workload().start().await.expect_err("the token pins another root");
    assert_eq!(refusal(&error), Some(Reason::CertUntrusted), "{error:?}");
    // Nothing was sent: the token can still be used where it belongs.
    other.put_token(&token);
    other.workload().start().await.expect("the token is unused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_after_a_crash_asks_again_with_the_same_key() {
    let world = World::with_a_token().await;
    // As after a crash between the issuer's answer and the workload's disk: the key is there, the SVID is not.
    let identity = world.workload().start().await.expect("an identity");
    let first = identity.snapshot().svid.leaf().spki_der().to_vec();
    drop(identity);
    world.forget_svid_keep_key().await;
    let identity = world.workload().start().await.expect("the same token again");
    assert_eq!(identity.snapshot().svid.leaf().spki_der(), first, "another key was used");
    // Another key with the same token is refused.
    drop(identity);
    world.forget_everything().await;
    let error = world.workload().start().await.expect_err("a used token");
    assert_eq!(refusal(&error), Some(Reason::JoinTokenAlreadyUsed), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_while_the_issuer_is_away_waits_for_it() {
    let mut world = World::with_a_token().await;
    world.stop_issuer().await;
    let starting = tokio::spawn(world.workload().start());
    world.wait_for(|world| world.state_file("pending-key.pem").exists()).await;
    assert!(!starting.is_finished());
    world.start_issuer().await;
    let identity = starting.await.expect("the task").expect("an identity");
    assert_eq!(identity.spiffe_id(), id("/orders"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_starts_from_disk_without_the_issuer() {
    let mut world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = serial(&identity);
    drop(identity);
    world.stop_issuer().await;
    let identity = world.start_again().await.expect("from disk");
    assert_eq!(serial(&identity), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_renews_before_half_its_life_is_over() {
    let world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = identity.snapshot().svid.clone();
    let renewed = world.renewed(&identity, first.leaf().serial()).await;
    assert_ne!(renewed.leaf().spki_der(), first.leaf().spki_der(), "every renewal has a new key");
    assert_eq!(renewed.spiffe_id(), first.spiffe_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_outlasts_an_issuer_that_is_away() {
    let mut world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = serial(&identity);
    world.stop_issuer().await;
    world.wait_for(|world| world.failures() > 0).await;
    assert_eq!(serial(&identity), first, "the SVID in use stays");
    world.start_issuer().await;
    world.renewed(&identity, &first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_recovers_where_it_has_expired_by_the_issuers_clock() {
    let world = World::with_a_token().await;
    // A clock of its own: by it the certificate of ten seconds has another two when the issuer's says that it has ended. They
    // differ by less than certificates are backdated.
    let behind = ManualClock::new(world.now());
    let identity = world.workload().clock(behind.shared()).start().await.expect("an identity");
    let first = serial(&identity);
    behind.advance(Duration::from_secs(8));
    world.clock.advance(Duration::from_secs(12));
    let recovered = world.renewed(&identity, &first).await;
    assert_eq!(world.issued(), ["enroll", "recover"], "{}", world.last_failure());
    assert!(recovered.not_after() > world.now());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_is_not_renewed_once_its_entry_is_deleted() {
    let world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = serial(&identity);
    world.delete("/orders").await;
    world.wait_for(|world| world.failures() > 1).await;
    assert_eq!(serial(&identity), first);
    assert!(world.last_failure().contains("NO_MATCHING_ENTRY"), "{}", world.last_failure());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_recovers_with_its_key() {
    let mut world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = serial(&identity);
    drop(identity);
    world.sleep_and_wake(Duration::from_secs(3600)).await;
    let identity = world.start_again().await.expect("recovered");
    assert_eq!(identity.spiffe_id(), id("/orders"));
    assert_ne!(serial(&identity), first);
    assert!(identity.snapshot().svid.not_after() > world.now());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_while_running_recovers_by_itself() {
    let mut world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = serial(&identity);
    world.stop_issuer().await;
    world.clock.advance(Duration::from_secs(3600));
    world.wait_for(|world| world.failures() > 0).await;
    world.start_issuer().await;
    let recovered = world.renewed(&identity, &first).await;
    assert!(recovered.not_after() > world.now());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_past_the_window_is_refused() {
    let mut world = World::with_a_token().await;
    drop(world.workload().start().await.expect("an identity"));
    world.sleep_and_wake(Duration::from_secs(25 * 3600)).await;
    world.remove_token();
    let error = world.start_again_without_token().await.expect_err("the window is over");
    assert_eq!(refusal(&error), Some(Reason::RecoveryWindowOver), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_past_the_window_enrolls_with_a_new_token() {
    let mut world = World::with_a_token().await;
    drop(world.workload().start().await.expect("an identity"));
    world.sleep_and_wake(Duration::from_secs(25 * 3600)).await;
    world.write_token("/orders").await;
    let identity = world.start_again().await.expect("enrolled anew");
    assert!(identity.snapshot().svid.not_after() > world.now());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_is_not_recovered_once_its_entry_is_deleted() {
    let mut world = World::with_a_token().await;
    drop(world.workload().start().await.expect("an identity"));
    world.delete("/orders").await;
    world.sleep_and_wake(Duration::from_secs(3600)).await;
    let error = world.start_again_without_token().await.expect_err("deleted");
    assert_eq!(refusal(&error), Some(Reason::NoMatchingEntry), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_state_file_is_reported_and_replaced() {
    let world = World::with_a_token().await;
    drop(world.workload().start().await.expect("an identity"));
    world.spoil("svid.pem").await;
    world.write_token("/orders").await;
    let identity = world.start_again().await.expect("a new identity");
    assert_eq!(identity.spiffe_id(), id("/orders"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_bundle_is_made_good_by_the_roots_that_the_used_token_pins() {
    let world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = serial(&identity);
    drop(identity);
    // The own bundle is in both.
    world.spoil("bundle.json").await;
    world.spoil("trust-state.bin").await;
    let identity = world.start_again().await.expect("recovered with the used token's pins");
    assert_eq!(identity.spiffe_id(), id("/orders"));
    assert_ne!(serial(&identity), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_bundle_is_that_of_the_stored_trust_state() {
    let world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = serial(&identity);
    drop(identity);
    world.spoil("bundle.json").await;
    assert_eq!(serial(&world.start_again_without_token().await.expect("from disk")), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_trust_state_keeps_the_stored_svid_out_of_use_until_the_issuer_has_answered() {
    let world = World::with_a_token().await;
    let identity = world.workload().start().await.expect("an identity");
    let first = serial(&identity);
    drop(identity);
    world.spoil("trust-state.bin").await;
    let identity = world.start_again_without_token().await.expect("recovered");
    assert_ne!(serial(&identity), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_state_is_refused() {
    let world = World::with_a_token().await;
    let _identity = world.workload().start().await.expect("an identity");
    let error = world.workload().start().await.expect_err("in use");
    assert!(matches!(error, IdentityError::State(_)), "{error:?}");
    assert!(error.to_string().contains("another process uses"), "{error}");
}
