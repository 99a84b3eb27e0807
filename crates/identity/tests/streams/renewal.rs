//! What a renewal of the client's SVID does to its channel: the next connection is open before the old one is let go.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use avouch_identity::spiffe::{Bundle, BundleSet, Reason};
use avouch_identity::{Channel, ConnectionRecord, Retirement, ServerOptions, Verdict, reason};
use tokio::time::Instant;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Ca, Running, channel, check, domain, id, serve};
use crate::world::{DOWN, World, call, read};
use avouch_testkit::wait::until;

/// Long enough for no connection to reach its margin here, short enough for a move within a second.
const TTL: Duration = Duration::from_secs(20);
/// The longest that a move is put off: a twentieth of what is left.
const MOVE: Duration = Duration::from_secs(1);

/// Calls from `callers` tasks until it is stopped; no call may fail.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), tonic::Status>>>,
}

impl Load {
    fn on(channel: &Channel, callers: usize) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = |_| {
            let (channel, stop, calls) = (channel.clone(), stop.clone(), calls.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    check(&channel).await?;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        let tasks = (0..callers).map(task).collect();
        Self { stop, calls, tasks }
    }

    async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a caller's task").expect("no call fails");
        }
        self.calls.load(Ordering::Relaxed)
    }
}

fn accepted(running: &Running) -> Vec<ConnectionRecord> {
    running.records.all().into_iter().filter(|it| it.verdict == Verdict::Accepted).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_renewal_per_second_every_certificate_is_used_and_no_call_fails() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (publisher, client) = ca.identity_for("/client", TTL);
    let running = serve(server, ServerOptions::default()).await;
    let channel = channel(&client, &running);
    let load = Load::on(&channel, 8);
    let mut serials = HashSet::from([client.snapshot().svid.leaf().serial().to_owned()]);
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        publisher.update(ca.svid(&id("/client"), TTL));
        let serial = client.snapshot().svid.leaf().serial().to_owned();
        let shows = |it: &ConnectionRecord| it.peer_serial.as_deref() == Some(&serial);
        until("the move to the new certificate", || accepted(&running).iter().any(shows)).await;
        serials.insert(serial);
    }
    let calls = load.finish().await;
    let used: HashSet<_> = accepted(&running).into_iter().filter_map(|it| it.peer_serial).collect();
    assert_eq!(used, serials);
    assert_eq!(accepted(&running).len(), serials.len(), "a connection for each certificate and no more");
    assert!(calls > 500, "only {calls} calls");
    drop(channel);
    assert_eq!(running.stop().await.cut, 0);
}

#[tokio::test]
async fn a_stream_goes_on_over_the_old_connection_is_told_and_new_calls_take_the_new_one() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (publisher, client) = ca.identity_for("/client", TTL);
    let running = serve(server, ServerOptions::default()).await;
    let channel = channel(&client, &running);
    let mut health = HealthClient::new(channel.clone());
    let request = || HealthCheckRequest { service: String::new() };
    let watch = health.watch(request()).await.expect("a stream");
    let retirement = watch.extensions().get::<Retirement>().expect("a stream knows its connection").clone();
    let unary = health.check(request()).await.expect("a call");
    assert!(unary.extensions().get::<Retirement>().is_none(), "of no use to a unary call");
    let mut watch = watch.into_inner();
    watch.message().await.expect("the first state");
    assert!(!retirement.is_retired());

    publisher.update(ca.svid(&id("/client"), TTL));
    tokio::time::timeout(MOVE * 3, retirement.retired()).await.expect("the channel has moved");
    assert_eq!(accepted(&running).len(), 2, "the new connection is open before the old one is left");
    check(&channel).await.expect("a call on the new one");
    assert_eq!(accepted(&running).len(), 2);
    // Over the old connection all the same.
    running.health.set_service_status("", ServingStatus::NotServing).await;
    let changed = watch.message().await.expect("the stream goes on").expect("a state");
    assert_eq!(changed.status, 2);
    assert_eq!(running.records.closed(), 0);
    drop(watch);
    until("the end of the old connection after its last call", || running.records.closed() == 1).await;
    check(&channel).await.expect("a call on the new one");
}

#[tokio::test]
async fn a_channel_that_nobody_has_used_since_lets_go_and_connects_with_the_new_certificate_when_it_is() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let (publisher, client) = ca.identity_for("/client", TTL);
    let running = serve(server, ServerOptions::default()).await;
    let channel = channel(&client, &running);
    check(&channel).await.expect("a call");
    publisher.update(ca.svid(&id("/client"), TTL));
    until("the move of a channel in use", || accepted(&running).len() == 2).await;
    until("the end of the old connection", || running.records.closed() == 1).await;
    publisher.update(ca.svid(&id("/client"), TTL));
    until("the end of the unused connection", || running.records.closed() == 2).await;
    assert_eq!(accepted(&running).len(), 2, "an unused channel connects to nobody");
    check(&channel).await.expect("a call");
    let last = accepted(&running).pop().and_then(|it| it.peer_serial);
    assert_eq!(last.as_deref(), Some(client.snapshot().svid.leaf().serial()));
}

#[tokio::test]
async fn a_change_of_the_bundle_or_the_same_certificate_again_moves_nothing() {
    let ca = Ca::new();
    let (_server_publisher, server) = ca.identity("/server");
    let svid = ca.svid(&id("/client"), Duration::from_secs(4));
    let snapshot = avouch_identity::Snapshot::new(svid.clone(), ca.bundles());
    let (publisher, client) = avouch_identity::Identity::publisher(snapshot);
    let running = serve(server, ServerOptions::default()).await;
    let channel = channel(&client, &running);
    check(&channel).await.expect("a call");
    let roots = [ca.root.to_vec(), Ca::new().root.to_vec()];
    let bundle = Bundle::from_ders(domain(), &roots, 2).expect("a bundle");
    publisher.update([bundle].into_iter().collect::<BundleSet>());
    publisher.update(svid);
    // Twice as long as a move is put off at most.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        check(&channel).await.expect("a call");
    }
    assert_eq!(running.records.all().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_new_certificate_is_not_taken_the_old_connection_serves_and_nobody_knocks_all_the_time() {
    let (ca, new) = (Ca::new(), Ca::new());
    let (server_publisher, server) = ca.identity("/server");
    let (publisher, client) = ca.identity_for("/client", TTL);
    let running = serve(server, ServerOptions::default()).await;
    let channel = channel(&client, &running);
    let load = Load::on(&channel, 4);
    until("a connection", || accepted(&running).len() == 1).await;
    // The server has not heard of the root above the new certificate.
    publisher.update(new.svid(&id("/client"), TTL));
    let refusals = || running.records.all().len() - accepted(&running).len();
    until("refusals", || refusals() >= 4).await;
    assert_eq!(accepted(&running).len(), 1);
    let before = refusals();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(refusals() - before < 5, "{} more in a second", refusals() - before);
    let refused = running.records.all().into_iter().find(|it| it.verdict == Verdict::Refused);
    assert_eq!(refused.and_then(|it| it.reason), Some(Reason::CertUntrusted));
    // It hears of it.
    let roots = [ca.root.to_vec(), new.root.to_vec()];
    let bundle = Bundle::from_ders(domain(), &roots, 2).expect("a bundle");
    server_publisher.update([bundle].into_iter().collect::<BundleSet>());
    until("the move", || accepted(&running).len() == 2).await;
    load.finish().await;
}

#[tokio::test]
async fn the_old_connection_is_opened_anew_on_demand_when_it_breaks_before_the_new_one_can_be_had() {
    let (ca, new) = (Ca::new(), Ca::new());
    let (_server_publisher, server) = ca.identity("/server");
    let (publisher, client) = ca.identity_for("/client", TTL);
    let running = serve(server, ServerOptions::default()).await;
    let channel = channel(&client, &running);
    check(&channel).await.expect("a call");
    publisher.update(new.svid(&id("/client"), TTL));
    until("a refusal", || running.records.all().len() > accepted(&running).len()).await;
    check(&channel).await.expect("on the old connection");
    running.stop().await;
    // Neither hangs nor keeps a connection that is none.
    let began = Instant::now();
    let status = check(&channel).await.expect_err("nobody listens any more");
    assert_eq!(reason(&status), Some(Reason::PeerConnectionClosed), "{status:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stream_ends_with_a_retired_connections_status_at_the_end_of_its_certificate() {
    // The old connection's certificate ends while the new one's lasts.
    let world = World::lasting(Duration::from_secs(3)).await;
    let channel = world.channel(|builder| builder);
    let response = call(&channel, DOWN).await.expect("a stream");
    let retirement = response.extensions().get::<Retirement>().expect("of a stream").clone();
    let mut old = response.into_body();
    world.renew_client(TTL);
    tokio::time::timeout(MOVE, retirement.retired()).await.expect("the channel has moved");
    let mut new = call(&channel, DOWN).await.expect("a stream").into_body();
    let (old, new) =
        tokio::join!(read(&mut old, Duration::from_secs(10)), read(&mut new, Duration::from_secs(4)));
    let status = old.expect_err("it does not outlive its certificate");
    assert_eq!(reason(&status), Some(Reason::ConnectionRetiring), "{status:?}");
    assert!(new.expect("that of the new connection lives on") > 10);
}
