//! An identity from PEM files: replaced files come into use, unusable ones never do.
#![allow(missing_docs, clippy::expect_used, reason = "tests")]

mod support;

use std::time::Duration;

use avouch_identity::{Identity, IdentityError};
use support::files::{Files, serial_changes, write};
use support::{Ca, id, leaf_params, year};

#[tokio::test]
async fn replaced_files_come_into_use_and_half_replaced_ones_do_not() {
    let ca = Ca::new();
    let files = Files::new();
    files.write_bundle(&ca.root);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    let identity = Identity::start(files.config()).await.expect("an identity");
    let first = identity.snapshot().svid.leaf().serial().to_owned();

    let (next, next_key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&next, &key);
    let unchanged = tokio::time::timeout(Duration::from_millis(200), serial_changes(&identity, &first)).await;
    assert!(unchanged.is_err(), "a certificate came into use without its key");
    files.write(&next, &next_key);
    assert!(serial_changes(&identity, &first).await.is_some());
}

#[tokio::test]
async fn a_certificate_of_another_identity_never_comes_into_use() {
    let ca = Ca::new();
    let files = Files::new();
    files.write_bundle(&ca.root);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    let identity = Identity::start(files.config()).await.expect("an identity");
    let first = identity.snapshot().svid.leaf().serial().to_owned();
    let (other, other_key) = ca.sign(&leaf_params(id("/other").as_str(), year()));
    files.write(&other, &other_key);
    let unchanged = tokio::time::timeout(Duration::from_millis(200), serial_changes(&identity, &first)).await;
    assert!(unchanged.is_err(), "another identity came into use");
    assert_eq!(identity.spiffe_id(), id("/files"));
}

#[tokio::test]
async fn what_vanishes_or_breaks_leaves_the_last_good_state() {
    let ca = Ca::new();
    let files = Files::new();
    files.write_bundle(&ca.root);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    let identity = Identity::start(files.config()).await.expect("an identity");
    let first = identity.snapshot().svid.leaf().serial().to_owned();
    write(&files.path("svid.pem"), "not a certificate");
    std::fs::remove_file(files.path("bundle.pem")).expect("removed");
    let unchanged = tokio::time::timeout(Duration::from_millis(200), serial_changes(&identity, &first)).await;
    assert!(unchanged.is_err());
    files.write_bundle(&ca.root);
    let (next, next_key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&next, &next_key);
    assert!(serial_changes(&identity, &first).await.is_some(), "the source froze");
}

#[tokio::test]
async fn a_spiffe_bundle_is_read_as_well_as_pem() {
    let ca = Ca::new();
    let files = Files::new();
    let json = ca.bundles().get(&support::domain()).expect("a bundle").to_json();
    write(&files.path("bundle.pem"), &json);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    Identity::start(files.config()).await.expect("an identity");
}

#[tokio::test]
async fn a_start_without_usable_files_says_which_and_why() {
    let ca = Ca::new();
    let files = Files::new();
    let missing = Identity::start(files.config()).await.expect_err("no files");
    assert!(matches!(missing, IdentityError::File { action: "read", .. }), "{missing:?}");
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    let (_, other_key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write_bundle(&ca.root);
    files.write(&chain, &other_key);
    let mismatch = Identity::start(files.config()).await.expect_err("another's key");
    assert!(matches!(mismatch, IdentityError::Files { .. }), "{mismatch:?}");
    files.write(&chain, &key);
    write(&files.path("bundle.pem"), "{\"keys\": 7}");
    let bundle = Identity::start(files.config()).await.expect_err("no bundle");
    assert!(matches!(bundle, IdentityError::Content { .. }), "{bundle:?}");
    assert!(!format!("{mismatch:?}").contains("PRIVATE"));
}
