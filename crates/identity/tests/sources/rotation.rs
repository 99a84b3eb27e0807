//! A new authority by files, in every order: no dead end, and never an SVID in use that its own bundle refuses.

use std::sync::{Arc, Mutex};

use avouch_identity::spiffe::Reason;
use avouch_identity::{Identity, IdentityEvent, IdentityObserver};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::files::{Files, no_problem, problem, serial, serial_changes, within};
use crate::support::{Ca, domain, id, leaf_params, year};

/// The files of an identity of the old authority, and what the new one issues for it.
struct World {
    files: Files,
    identity: Identity,
    heard: Arc<Heard>,
    old: Ca,
    new: Ca,
    next: (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
}

/// Every report, and every serial that came into use.
#[derive(Debug, Default)]
struct Heard {
    reports: Mutex<Vec<Vec<String>>>,
    serials: Mutex<Vec<String>>,
}

impl IdentityObserver for Heard {
    fn event(&self, event: &IdentityEvent) {
        match event {
            IdentityEvent::Files { problems } => {
                let told = problems.iter().map(|problem| problem.part.clone()).collect();
                self.reports.lock().unwrap().push(told);
            }
            IdentityEvent::Issued { serial, .. } => self.serials.lock().unwrap().push(serial.clone()),
            other => panic!("{other:?}"),
        }
    }
}

impl Heard {
    fn reports(&self) -> Vec<Vec<String>> {
        self.reports.lock().unwrap().clone()
    }
}

impl World {
    async fn begin() -> Self {
        let (old, new) = (Ca::new(), Ca::new());
        let files = Files::new();
        files.write_bundle(&old.root);
        let (chain, key) = old.sign(&leaf_params(id("/files").as_str(), year()));
        files.write(&chain, &key);
        let heard = Arc::new(Heard::default());
        let starting = Identity::starter(files.config()).observer(heard.clone()).start();
        let identity = within(starting).await.unwrap();
        let next = new.sign(&leaf_params(id("/files").as_str(), year()));
        Self { files, identity, heard, old, new, next }
    }

    fn roots_in_use(&self) -> Vec<Vec<u8>> {
        let snapshot = self.identity.snapshot();
        snapshot
            .trust
            .bundles()
            .get(&domain())
            .unwrap()
            .authorities()
            .iter()
            .map(|it| it.der().to_vec())
            .collect()
    }

    fn vouches(&self) -> bool {
        let snapshot = self.identity.snapshot();
        snapshot.trust.verify(snapshot.svid.chain(), None, crate::support::now()).is_ok()
    }

    /// The new certificate has come into use, with the new root alone, and nothing is said any more.
    async fn ended_well(&self, before: &str) {
        serial_changes(&self.identity, before).await.unwrap();
        no_problem(&self.identity).await;
        assert!(self.vouches());
        assert_eq!(self.heard.serials.lock().unwrap().len(), 2, "each certificate comes into use once");
    }
}

#[tokio::test]
async fn a_certificate_that_the_own_bundle_does_not_vouch_for_stays_out_and_is_said_once() {
    let world = World::begin().await;
    let before = serial(&world.identity);
    world.files.write(&world.next.0, &world.next.1);
    let told = problem(&world.identity, "certificate", "does not vouch for").await;
    assert_eq!(told.reason, Some(Reason::CertUntrusted));
    assert_eq!(told.path, world.files.path("svid.pem"));
    // Another look or two: it is neither used nor said again.
    world.files.write_chain(&world.old.sign(&leaf_params(id("/files").as_str(), year())).0);
    problem(&world.identity, "certificate", "does not match").await;
    assert_eq!(world.heard.reports(), [["certificate"], ["certificate"]], "once for each content");
    assert_eq!(serial(&world.identity), before);
    assert!(world.vouches());
}

#[tokio::test]
async fn certificate_first_then_bundle_ends_with_both() {
    let world = World::begin().await;
    let before = serial(&world.identity);
    world.files.write(&world.next.0, &world.next.1);
    problem(&world.identity, "certificate", "CERT_UNTRUSTED").await;
    world.files.write_bundle(&world.new.root);
    world.ended_well(&before).await;
    assert_eq!(world.roots_in_use(), [world.new.root.to_vec()]);
}

#[tokio::test]
async fn bundle_first_is_held_back_until_the_certificate_that_it_vouches_for_is_there() {
    let world = World::begin().await;
    let before = serial(&world.identity);
    world.files.write_bundle(&world.new.root);
    let told = problem(&world.identity, "bundle", "does not vouch for the SVID in use").await;
    assert_eq!((told.reason, told.path), (Some(Reason::CertUntrusted), world.files.path("bundle.pem")));
    assert_eq!(world.roots_in_use(), [world.old.root.to_vec()]);
    assert!(world.vouches());
    world.files.write(&world.next.0, &world.next.1);
    world.ended_well(&before).await;
    assert_eq!(world.roots_in_use(), [world.new.root.to_vec()]);
}

#[tokio::test]
async fn a_bundle_of_both_roots_comes_into_use_at_once_and_each_step_after_it_too() {
    let world = World::begin().await;
    let before = serial(&world.identity);
    let mut states = world.identity.subscribe();
    world.files.write_roots("bundle", &[&world.old.root, &world.new.root]);
    within(states.changed()).await.unwrap();
    assert_eq!((world.roots_in_use().len(), serial(&world.identity)), (2, before.clone()));
    world.files.write(&world.next.0, &world.next.1);
    serial_changes(&world.identity, &before).await.unwrap();
    assert_eq!(world.roots_in_use().len(), 2);
    let mut states = world.identity.subscribe();
    world.files.write_bundle(&world.new.root);
    within(states.changed()).await.unwrap();
    assert_eq!(world.roots_in_use(), [world.new.root.to_vec()]);
    world.ended_well(&before).await;
}

#[tokio::test]
async fn both_at_once_come_into_use_together() {
    let world = World::begin().await;
    let before = serial(&world.identity);
    let mut states = world.identity.subscribe();
    world.files.write_bundle(&world.new.root);
    world.files.write(&world.next.0, &world.next.1);
    within(states.changed()).await.unwrap();
    assert!(world.vouches() && serial(&world.identity) != before);
    world.ended_well(&before).await;
}

#[tokio::test]
async fn what_is_put_back_is_said_no_more() {
    let world = World::begin().await;
    let before = serial(&world.identity);
    let (chain, bundle) = (
        std::fs::read(world.files.path("svid.pem")).unwrap(),
        std::fs::read(world.files.path("bundle.pem")).unwrap(),
    );
    world.files.write_chain(&world.next.0);
    world.files.write_bundle(&Ca::new().root);
    problem(&world.identity, "certificate", "does not match").await;
    problem(&world.identity, "bundle", "does not vouch").await;
    crate::support::files::write(&world.files.path("svid.pem"), chain);
    crate::support::files::write(&world.files.path("bundle.pem"), bundle);
    no_problem(&world.identity).await;
    assert_eq!(serial(&world.identity), before);
    assert_eq!(world.heard.reports().last(), Some(&Vec::new()));
    assert_eq!(world.heard.serials.lock().unwrap().len(), 1, "nothing new came into use");
}

#[tokio::test]
async fn a_bundle_without_roots_is_held_back() {
    let world = World::begin().await;
    crate::support::files::write(&world.files.path("bundle.pem"), "{\"keys\": []}");
    problem(&world.identity, "bundle", "does not vouch").await;
    assert_eq!(world.roots_in_use(), [world.old.root.to_vec()]);
}
