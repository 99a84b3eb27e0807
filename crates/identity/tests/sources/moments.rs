//! Certificates before their time and after it, by a clock that the test sets.

use std::time::Duration;

use avouch_identity::spiffe::Reason;
use avouch_time::clock::ManualClock;

use crate::support::files::{Files, no_problem, problem, serial, serial_changes, within};
use crate::support::{Ca, domain, id, leaf_params, now};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_certificate_that_has_expired_replaces_none_and_is_started_with_until_another_comes() {
    let (ca, files) = (Ca::new(), Files::new());
    files.write_bundle(&ca.root);
    let start = now();
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), start - HOUR..start + HOUR));
    let (ended, ended_key) = ca.sign(&leaf_params(id("/files").as_str(), start - HOUR..start - HOUR / 2));
    files.write(&ended, &ended_key);
    let identity = files.start().await.unwrap();
    let before = serial(&identity);
    files.write(&chain, &key);
    serial_changes(&identity, &before).await.unwrap();
    let before = serial(&identity);
    files.write(&ended, &ended_key);
    let told = problem(&identity, "certificate", "by this machine's clock").await;
    assert_eq!(told.reason, Some(Reason::CertExpired));
    assert_eq!(serial(&identity), before);
}

#[tokio::test]
async fn an_expired_certificate_that_nobody_vouches_for_and_one_that_is_not_valid_yet_make_no_identity() {
    let (ca, other, files) = (Ca::new(), Ca::new(), Files::new());
    files.write_bundle(&ca.root);
    let start = now();
    for (by, dates, reason) in [
        (&other, start - HOUR..start - HOUR / 2, "CERT_UNTRUSTED"),
        (&ca, start + HOUR..start + HOUR * 2, "CERT_NOT_YET_VALID"),
    ] {
        let (chain, key) = by.sign(&leaf_params(id("/files").as_str(), dates));
        files.write(&chain, &key);
        let error = files.start().await.unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("svid.pem"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_comes_into_use_when_it_is() {
    let (ca, files) = (Ca::new(), Files::new());
    files.write_bundle(&ca.root);
    let start = now();
    let clock = ManualClock::new(start);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), start - HOUR..start + HOUR * 3));
    files.write(&chain, &key);
    let identity = files.start_by(&clock).await.unwrap();
    let before = serial(&identity);
    let (early, early_key) = ca.sign(&leaf_params(id("/files").as_str(), start + HOUR..start + HOUR * 9));
    files.write(&early, &early_key);
    let told = problem(&identity, "certificate", "becomes valid in").await;
    assert_eq!((told.reason, serial(&identity)), (Some(Reason::CertNotYetValid), before.clone()));
    clock.advance(HOUR + Duration::from_secs(1));
    serial_changes(&identity, &before).await.unwrap();
    no_problem(&identity).await;
}

#[tokio::test]
async fn a_bundle_is_held_back_no_longer_than_the_svid_in_use_holds() {
    let (ca, other, files) = (Ca::new(), Ca::new(), Files::new());
    files.write_bundle(&ca.root);
    let start = now();
    let clock = ManualClock::new(start);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), start - HOUR..start + HOUR));
    files.write(&chain, &key);
    let identity = files.start_by(&clock).await.unwrap();
    files.write_bundle(&other.root);
    problem(&identity, "bundle", "does not vouch").await;
    clock.advance(HOUR + Duration::from_secs(1));
    let mut states = identity.subscribe();
    let is_other = |root: &[u8]| root == other.root.as_ref();
    let taken = states.wait_for(|state| {
        state.trust.bundles().get(&domain()).unwrap().authorities().iter().all(|it| is_other(it.der()))
    });
    within(taken).await.unwrap();
    // And a certificate that it vouches for still ends it well.
    let before = serial(&identity);
    let (next, next_key) = other.sign(&leaf_params(id("/files").as_str(), start..start + HOUR * 9));
    files.write(&next, &next_key);
    serial_changes(&identity, &before).await.unwrap();
    no_problem(&identity).await;
}
