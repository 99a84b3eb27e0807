//! Bundle swaps under load, roots replaced in and out of order, trust domains taken out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use avouch_identity::spiffe::{Bundle, BundleSet, Reason};
use avouch_identity::{
    Channel, ConnectionRecord, Identity, Publisher, ServerOptions, Snapshot, Verdict, reason,
};

use crate::support::{Ca, Running, channel, check, domain, id, serve};

const HOUR: Duration = Duration::from_secs(3600);

fn bundle(roots: &[&Ca], sequence: u64) -> BundleSet {
    let ders: Vec<_> = roots.iter().map(|ca| ca.root.to_vec()).collect();
    [Bundle::from_ders(domain(), &ders, sequence).expect("a bundle")].into_iter().collect()
}

/// Callers that never stop, and whether one of them was ever failed.
struct Load {
    calls: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), tonic::Status>>>,
}

impl Load {
    fn on(channel: &Channel, callers: usize) -> Self {
        let (calls, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let tasks = (0..callers)
            .map(|_| {
                let (channel, calls, stop) = (channel.clone(), calls.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        check(&channel).await?;
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        Self { calls, stop, tasks }
    }

    /// Until so many more calls have been made.
    async fn more(&self, calls: u64) {
        let wanted = self.calls.load(Ordering::Relaxed) + calls;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while self.calls.load(Ordering::Relaxed) < wanted {
            assert!(tokio::time::Instant::now() < deadline, "the calls have stopped");
            if self.tasks.iter().any(tokio::task::JoinHandle::is_finished) {
                return; // `finish` says how it failed
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a caller's task").expect("no call fails");
        }
    }
}

struct Pair {
    running: Running,
    channel: Channel,
    server: Publisher,
    client: Publisher,
}

/// A server whose connections live for a moment, so that each state is met by a handshake.
async fn pair(old: &Ca) -> Pair {
    let (server, identity) = old.identity("/server");
    let mut options = ServerOptions::default();
    options.max_connection_age = Duration::from_millis(50);
    let running = serve(identity, options).await;
    let (client, identity) = old.identity("/client");
    let channel = channel(&identity, &running);
    Pair { running, channel, server, client }
}

impl Pair {
    /// Until so many more connections were accepted.
    async fn connections(&self, load: &Load, more: usize) {
        let accepted = || {
            let is_accepted = |record: &&ConnectionRecord| record.verdict == Verdict::Accepted;
            self.running.records.all().iter().filter(is_accepted).count()
        };
        let wanted = accepted() + more;
        while accepted() < wanted && !load.tasks.iter().any(tokio::task::JoinHandle::is_finished) {
            load.more(1).await;
        }
    }

    fn publish_bundles(&self, bundles: &BundleSet) {
        self.server.update(bundles.clone());
        self.client.update(bundles.clone());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_is_replaced_step_by_step_under_load_and_no_call_fails_and_nothing_restarts() {
    let (old, new) = (Ca::new(), Ca::new());
    let pair = pair(&old).await;
    let load = Load::on(&pair.channel, 8);
    pair.connections(&load, 2).await;
    // Published before use (Federation §4.1), by everybody; then used; then the old one goes.
    pair.publish_bundles(&bundle(&[&old, &new], 2));
    pair.connections(&load, 2).await;
    pair.server.update(new.svid(&id("/server"), HOUR));
    pair.connections(&load, 2).await;
    pair.client.update(new.svid(&id("/client"), HOUR));
    pair.connections(&load, 2).await;
    pair.publish_bundles(&bundle(&[&new], 3));
    pair.connections(&load, 3).await;
    load.finish().await;
    let refused: Vec<_> =
        pair.running.records.all().into_iter().filter(|it| it.verdict == Verdict::Refused).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_that_are_swapped_all_the_time_under_load_fail_no_call() {
    let (old, other) = (Ca::new(), Ca::new());
    let pair = pair(&old).await;
    let load = Load::on(&pair.channel, 8);
    let states = [bundle(&[&old], 1), bundle(&[&other, &old], 2), bundle(&[&old, &other], 3)];
    for state in states.iter().cycle().take(600) {
        pair.publish_bundles(state);
        load.more(1).await;
    }
    pair.connections(&load, 2).await;
    load.finish().await;
    assert!(pair.running.records.all().iter().all(|record| record.verdict == Verdict::Accepted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_never_mixes_the_certificate_of_one_state_with_the_bundle_of_another() {
    let (one, other) = (Ca::new(), Ca::new());
    let states = [(one.svid(&id("/client"), HOUR), bundle(&[&one], 1)), {
        (other.svid(&id("/client"), HOUR), bundle(&[&other], 2))
    }];
    let serials = states.each_ref().map(|(svid, _)| svid.leaf().serial().to_owned());
    let (svid, bundles) = states[0].clone();
    let (publisher, identity) = Identity::publisher(Snapshot::new(svid, bundles));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let swapping = std::thread::spawn(move || {
        for (svid, bundles) in states.iter().cycle() {
            publisher.update((svid.clone(), bundles.clone()));
            if stopped.load(Ordering::Relaxed) {
                break;
            }
        }
    });
    let mut met = [0_u32; 2];
    while met.iter().any(|times| *times < 100) {
        let snapshot = identity.snapshot();
        let sequence = snapshot.trust.bundles().get(&domain()).expect("a bundle").sequence();
        let at =
            serials.iter().position(|serial| serial == snapshot.svid.leaf().serial()).expect("one of two");
        assert_eq!(sequence, if at == 0 { 1 } else { 2 }, "a certificate with another state's bundle");
        met[at] += 1;
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().expect("the swapping thread");
}

#[tokio::test]
async fn an_old_root_that_goes_too_early_is_named_by_whoever_does_not_have_the_new_one() {
    let (old, new) = (Ca::new(), Ca::new());
    let pair = pair(&old).await;
    check(&pair.channel).await.expect("before");
    // The client is certified anew although the server has not heard of the new root.
    pair.client.update((new.svid(&id("/client"), HOUR), bundle(&[&old, &new], 2)));
    let record = loop {
        let _ = check(&pair.channel).await;
        if let Some(record) =
            pair.running.records.all().into_iter().find(|record| record.verdict == Verdict::Refused)
        {
            break record;
        }
    };
    assert_eq!(record.reason, Some(Reason::CertUntrusted), "{record:?}");
    assert!(record.detail.as_deref().unwrap_or_default().contains("test root"), "{record:?}");
    // As soon as the root arrives the next connection is made.
    pair.server.update(bundle(&[&old, &new], 2));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while let Err(status) = check(&pair.channel).await {
        assert!(tokio::time::Instant::now() < deadline, "{status:?} {:?}", pair.running.records.all().last());
    }
}

#[tokio::test]
async fn a_trust_domain_that_is_taken_out_or_emptied_lets_nobody_in_again() {
    for (left, expected) in [
        (BundleSet::new(), Reason::TrustDomainUnknown),
        ([Bundle::new(domain(), Vec::new(), 9)].into_iter().collect(), Reason::CertUntrusted),
    ] {
        let ca = Ca::new();
        let (publisher, server) = ca.identity("/server");
        let running = serve(server, ServerOptions::default()).await;
        let (_client_publisher, client) = ca.identity("/client");
        check(&channel(&client, &running)).await.expect("while it is trusted");
        publisher.update(left);
        // A new connection; there is no session that an old one could have left.
        let status = check(&channel(&client, &running)).await.expect_err("it is trusted no more");
        assert_eq!(reason(&status), Some(Reason::HandshakeRefused), "{status:?}");
        running.records.wait(|record| record.reason == Some(expected)).await;
    }
}
