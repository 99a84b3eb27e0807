//! A closed source that freezes silently, a builder whose panic wedges those who wait, a rotation that falls between
//! looking and listening.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use avouch_identity::{Identity, IdentityEvent, IdentityObserver, ServerOptions, Snapshot};
use avouch_time::clock::{Clock, SystemClock};

use crate::support::files::{Files, serial_changes};
use crate::support::{Ca, channel, check, id, leaf_params, serve, year};

const HOUR: Duration = Duration::from_secs(3600);

/// A clock that panics as often as it is told to, when it is looked at.
#[derive(Debug, Default)]
struct Faulty {
    left: AtomicUsize,
    panicked: AtomicUsize,
}

impl Clock for Faulty {
    fn now(&self) -> SystemTime {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            self.panicked.fetch_add(1, Ordering::SeqCst);
            panic!("a clock that panics");
        }
        SystemClock.now()
    }
}

#[tokio::test]
async fn callers_that_wait_for_a_connection_get_one_although_the_task_that_opens_it_panics() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let running = serve(server, ServerOptions::default()).await;
    let clock = Arc::new(Faulty::default());
    let snapshot = Snapshot::new(ca.svid(&id("/client"), HOUR), ca.bundles());
    let (_publisher, client) = Identity::publisher_with_clock(snapshot, clock.clone());
    let channel = client
        .channel(&running.url(), id("/server"))
        .ready_timeout(Duration::from_secs(10))
        .default_timeout(Some(Duration::from_secs(20)))
        .build()
        .expect("a channel");
    clock.left.store(2, Ordering::SeqCst);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { check(&channel).await })
        })
        .collect();
    for call in calls {
        call.await.expect("a caller's task").expect("a connection after all");
    }
    assert_eq!(clock.panicked.load(Ordering::SeqCst), 2, "the panic is what was tested");
}

/// Panics at every event.
#[derive(Debug, Default)]
struct Touchy(AtomicUsize);

impl IdentityObserver for Touchy {
    fn event(&self, _: &IdentityEvent) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("an observer that panics");
    }
}

#[tokio::test]
async fn an_observer_that_panics_does_not_stop_the_rotation() {
    let ca = Ca::new();
    let files = Files::new();
    files.write_bundle(&ca.root);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    let touchy = Arc::new(Touchy::default());
    let identity =
        Identity::starter(files.config()).observer(touchy.clone()).start().await.expect("an identity");
    for _ in 0..2 {
        let serial = identity.snapshot().svid.leaf().serial().to_owned();
        let (next, next_key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
        files.write(&next, &next_key);
        assert!(serial_changes(&identity, &serial).await.is_some(), "the source froze");
    }
    assert!(touchy.0.load(Ordering::SeqCst) >= 3, "the panic is what was tested");
}

#[tokio::test]
async fn a_source_whose_task_dies_says_so_and_begins_again() {
    let ca = Ca::new();
    let files = Files::new();
    files.write_bundle(&ca.root);
    let (chain, key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&chain, &key);
    let clock = Arc::new(Faulty::default());
    let heard = Arc::new(Heard::default());
    let identity = Identity::starter(files.config())
        .clock(clock.clone())
        .observer(heard.clone())
        .start()
        .await
        .expect("an identity");
    let serial = identity.snapshot().svid.leaf().serial().to_owned();
    clock.left.store(1, Ordering::SeqCst);
    heard.wait_for("died: it panicked").await;
    let (next, next_key) = ca.sign(&leaf_params(id("/files").as_str(), year()));
    files.write(&next, &next_key);
    assert!(serial_changes(&identity, &serial).await.is_some(), "the source froze");
    assert_eq!(clock.panicked.load(Ordering::SeqCst), 1);
}

/// Remembers failures.
#[derive(Debug, Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl IdentityObserver for Heard {
    fn event(&self, event: &IdentityEvent) {
        if let IdentityEvent::Failed { how: "source", error } = event {
            self.0.lock().expect("not poisoned").push(error.clone());
        }
    }
}

impl Heard {
    async fn wait_for(&self, words: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !self.0.lock().expect("not poisoned").iter().any(|error| error.contains(words)) {
            assert!(tokio::time::Instant::now() < deadline, "nobody said {words:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_publisher_that_is_gone_ends_every_subscription_and_leaves_the_last_state() {
    let ca = Ca::new();
    let (publisher, identity) = ca.identity("/client");
    let mut states = identity.subscribe();
    publisher.update(ca.svid(&id("/client"), HOUR));
    drop(publisher);
    states.changed().await.expect("the last change is still seen");
    states.changed().await.expect_err("nothing comes any more, and whoever listens knows");
    assert_eq!(identity.snapshot().generation, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_before_looking_misses_no_rotation_that_falls_between() {
    const ROTATIONS: u64 = 200;
    let ca = Ca::new();
    let (publisher, identity) = ca.identity("/client");
    let svid = identity.snapshot().svid.clone();
    let rotating = std::thread::spawn(move || {
        for _ in 0..ROTATIONS {
            publisher.update(svid.as_ref().clone());
            std::thread::yield_now();
        }
        publisher
    });
    let mut seen = 0;
    while seen <= ROTATIONS {
        let mut states = identity.subscribe();
        seen = identity.snapshot().generation;
        if seen <= ROTATIONS {
            // There is more to come: it must wake whoever listened before it looked.
            let next = tokio::time::timeout(Duration::from_secs(10), states.changed()).await;
            next.expect("a rotation was missed").expect("a live publisher");
        }
    }
    drop(rotating.join().expect("the publisher's thread"));
}

#[tokio::test]
async fn a_channel_opened_after_a_rotation_shows_the_new_certificate() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let running = serve(server, ServerOptions::default()).await;
    let (publisher, client) = ca.identity("/client");
    let channel = channel(&client, &running);
    let next = ca.svid(&id("/client"), HOUR);
    let serial = next.leaf().serial().to_owned();
    // Between the channel and its first call.
    publisher.update(next);
    check(&channel).await.expect("a call");
    assert_eq!(running.records.all()[0].peer_serial.as_deref(), Some(serial.as_str()));
}
