//! Bundles of other trust domains: each comes and goes by itself.

use avouch_identity::IdentityError;
use avouch_identity::spiffe::TrustDomain;

use crate::support::files::{Files, no_problem, problem, problems, serial, serial_changes, within, write};
use crate::support::{Ca, id, leaf_params, year};

fn partner() -> TrustDomain {
    "partner.example".parse().unwrap()
}

/// With good files of its own, and a bundle of a partner still to come.
fn files(ca: &Ca) -> Files {
    let files = Files::new().federated("partner", "partner.example");
    files.write_bundle(&ca.root);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    files
}

#[tokio::test]
async fn a_partners_bundle_that_is_missing_or_broken_stops_neither_the_start_nor_a_renewal() {
    let (ca, theirs) = (Ca::new(), Ca::new());
    for content in [None, Some("-----BEGIN CERTIFICATE-----\nAAAA"), Some(""), Some("{\"keys\": 7}")] {
        let files = files(&ca);
        if let Some(content) = content {
            write(&files.path("partner.pem"), content);
        }
        let identity = files.start().await.unwrap();
        let told = problem(&identity, "bundle of partner.example", "").await;
        assert_eq!(told.path, files.path("partner.pem"));
        assert!(identity.snapshot().trust.bundles().get(&partner()).is_none());
        let before = serial(&identity);
        let (next, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
        files.write(&next, &key);
        serial_changes(&identity, &before).await.unwrap();
        files.write_roots("partner", &[&theirs.root]);
        no_problem(&identity).await;
        assert!(identity.snapshot().trust.bundles().get(&partner()).is_some(), "{content:?}");
    }
}

#[tokio::test]
async fn a_partners_bundle_that_breaks_leaves_its_last_good_one_and_everybody_elses_change() {
    let (ca, theirs) = (Ca::new(), Ca::new());
    let files = files(&ca).federated("other", "other.example");
    files.write_roots("partner", &[&theirs.root]);
    files.write_roots("other", &[&theirs.root]);
    let identity = files.start().await.unwrap();
    write(&files.path("partner.pem"), "cut");
    let told = problem(&identity, "bundle of partner.example", "text without a BEGIN line").await;
    files.write_roots("other", &[&theirs.root, &Ca::new().root]);
    let mut states = identity.subscribe();
    let other: TrustDomain = "other.example".parse().unwrap();
    let roots = |domain: &TrustDomain| {
        identity.snapshot().trust.bundles().get(domain).map(|it| it.authorities().len())
    };
    within(states.wait_for(|state| state.trust.bundles().get(&other).unwrap().authorities().len() == 2))
        .await
        .unwrap();
    assert_eq!(roots(&partner()), Some(1));
    std::fs::remove_file(files.path("partner.pem")).unwrap();
    let gone = problem(&identity, "bundle of partner.example", "cannot read").await;
    assert_eq!(gone.since, told.since, "it has been out of use since the first fault");
    assert_eq!(roots(&partner()), Some(1));
}

#[tokio::test]
async fn a_partner_that_revokes_everything_is_trusted_no_more() {
    let (ca, theirs) = (Ca::new(), Ca::new());
    let files = files(&ca);
    files.write_roots("partner", &[&theirs.root]);
    let identity = files.start().await.unwrap();
    // A bundle without authorities is a bundle (SPIFFE Trust Domain and Bundle §4.1.3).
    write(&files.path("partner.pem"), "{\"keys\": []}");
    let mut states = identity.subscribe();
    within(states.wait_for(|state| state.trust.bundles().get(&partner()).unwrap().authorities().is_empty()))
        .await
        .unwrap();
    problems(&identity, <[_]>::is_empty).await;
}

#[tokio::test]
async fn a_bundle_for_the_own_trust_domain_or_two_for_one_are_a_fault_of_the_configuration() {
    let ca = Ca::new();
    let files = Files::new().federated("partner", "market.example");
    // Known from the configuration alone, before there is any file.
    let mut config = files.files();
    config.spiffe_id = Some(id("/files"));
    let error = avouch_identity::Identity::start(avouch_identity::IdentityConfig::Files(config)).await;
    assert!(matches!(error, Err(IdentityError::FederatedOwn(_))), "{error:?}");
    // Known from the certificate.
    files.write_bundle(&ca.root);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    files.write_roots("partner", &[&Ca::new().root]);
    let error = files.start().await.unwrap_err();
    assert!(
        matches!(&error, IdentityError::FederatedOwn(own) if own.as_str() == "market.example"),
        "{error:?}"
    );
    let twice = Files::new().federated("a", "partner.example").federated("b", "partner.example");
    let error = twice.start().await.unwrap_err();
    assert!(matches!(&error, IdentityError::FederatedTwice(of) if *of == partner()), "{error:?}");
    assert!(error.to_string().contains("identity.federated"), "{error}");
}
