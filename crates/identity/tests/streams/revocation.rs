//! What a revocation does: to handshakes, to live connections at both ends, and to everybody else.

use std::sync::Arc;
use std::time::Duration;

use avouch_identity::spiffe::x509::Authority;
use avouch_identity::spiffe::{
    Generation, PeerIdentity, Reason, Revocation, RevocationKey, Revocations, SpiffeId, TrustState,
};
use avouch_identity::{Identity, IdentityFilter, Publisher, ServerOptions, Verdict, reason};
use avouch_testkit::wait::{eventually, until};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::support::{Ca, channel, check, domain, id, now, serve};
use crate::world::{DOWN, TICK, UP, World, call, call_with_stream, read};

/// Far longer than any cut takes, and far shorter than the grace of a retirement.
const SOON: Duration = Duration::from_secs(2);

/// The trust state of this bundle in which these keys are revoked.
fn state(publisher: &Publisher, keys: &[RevocationKey]) -> TrustState {
    let current = publisher.current().trust.state().clone();
    let counter = current.generation.counter + 1;
    let generation = Generation { epoch: 1, counter };
    let ends_at = now() + Duration::from_secs(3600);
    let revoked = keys.iter().map(|key| Revocation { key: *key, since: generation, ends_at, proof: [0; 16] });
    let revocations = Arc::new(Revocations::new(revoked).expect("few enough"));
    TrustState { generation, revocations, ..current }
}

fn revoke(publisher: &Publisher, keys: &[RevocationKey]) {
    publisher.update(state(publisher, keys));
}

fn serial_of(identity: &Identity) -> RevocationKey {
    RevocationKey::serial(&domain(), identity.snapshot().svid.leaf().serial())
}

/// Every way in which the peer with this identity can be revoked, and the reason that it is refused for.
fn ways(ca: &Ca, peer: &Identity) -> [(RevocationKey, Reason); 4] {
    let authority = Authority::parse(&ca.intermediate).expect("an authority");
    let root = Authority::parse(&ca.root).expect("a root");
    let key_id = authority.key_id().expect("a key identifier").to_owned();
    [
        (RevocationKey::identity(&peer.spiffe_id()), Reason::IdentityRevoked),
        (serial_of(peer), Reason::CertRevoked),
        (RevocationKey::authority(&domain(), &key_id), Reason::CertRevoked),
        (RevocationKey::root(&domain(), &root.sha256()), Reason::CertRevoked),
    ]
}

fn code(reason: Reason) -> Code {
    Code::from_i32(reason.code().number())
}

#[tokio::test]
async fn a_revoked_client_is_refused_by_its_next_handshake_and_the_record_says_why() {
    for way in 0..4 {
        let ca = Ca::new();
        let (server, identity) = ca.identity("/server");
        let running = serve(identity, ServerOptions::default()).await;
        let (_publisher, client) = ca.identity("/client");
        let (key, expected) = ways(&ca, &client)[way];
        revoke(&server, &[key]);
        let refused = check(&channel(&client, &running)).await.expect_err("it is revoked");
        assert_ne!(refused.code(), Code::Ok);
        let record = running.records.wait(|record| record.verdict == Verdict::Refused).await;
        assert_eq!(record.reason, Some(expected), "{record:?}");
        assert_eq!(record.peer_id, Some(id("/client")));
        assert!(record.detail.as_deref().is_some_and(|it| it.contains("avouch revocations")), "{record:?}");
        // Undone, it is served again.
        revoke(&server, &[]);
        check(&channel(&client, &running)).await.expect("a call after the revocation was undone");
    }
}

#[tokio::test]
async fn a_revoked_server_is_refused_by_the_client_and_comes_back_without_a_restart() {
    for way in 0..4 {
        let ca = Ca::new();
        let (_publisher, identity) = ca.identity("/server");
        let (client, calling) = ca.identity("/client");
        let (key, expected) = ways(&ca, &identity)[way];
        let running = serve(identity, ServerOptions::default()).await;
        let channel = channel(&calling, &running);
        revoke(&client, &[key]);
        let refused = check(&channel).await.expect_err("it is revoked");
        assert_eq!((reason(&refused), refused.code()), (Some(expected), code(expected)), "{refused:?}");
        revoke(&client, &[]);
        eventually("calls after the undo", async || check(&channel).await.ok()).await;
    }
}

/// The status with which a stream of answers ends, and that it ends soon.
async fn cut(body: &mut crate::world::Answer, since: Instant) -> Status {
    let status = read(body, SOON).await.expect_err("the stream is cut");
    assert!(since.elapsed() < SOON, "after {:?}", since.elapsed());
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_revoked_loses_its_streams_and_calls_at_once_and_others_lose_nothing() {
    let world = World::new().await;
    let other = world.ca.identity("/other");
    let others = other.1.channel(&world.url, id("/server")).methods(crate::world::CONTRACT.methods);
    let others = others.build().expect("a channel");
    let mut untouched = call(&others, DOWN).await.expect("a stream").into_body();
    read(&mut untouched, TICK * 3).await.expect("its messages");

    let channel = world.channel(|it| it);
    let mut down = call(&channel, DOWN).await.expect("a stream").into_body();
    read(&mut down, TICK * 3).await.expect("its messages");
    let up = tokio::spawn({
        let channel = channel.clone();
        async move {
            call_with_stream(&channel, UP, usize::MAX).await.map(|it| Status::from_header_map(it.headers()))
        }
    });
    tokio::time::sleep(TICK * 3).await; // the stream of requests is under way; that it is not yet would end it too
    revoke(&world.server, &[RevocationKey::identity(&id("/client"))]);
    let begun = Instant::now();
    let status = cut(&mut down, begun).await;
    assert_eq!((reason(&status), status.code()), (Some(Reason::IdentityRevoked), Code::PermissionDenied));
    let up = tokio::time::timeout(SOON, up).await.expect("in time").expect("a task").expect("an answer");
    let status = up.expect("with its status at once");
    assert_eq!((reason(&status), status.code()), (Some(Reason::IdentityRevoked), Code::PermissionDenied));
    let end = world.records.wait_end(|end| end.peer_id == Some(id("/client"))).await;
    assert_eq!(end.reason, Reason::IdentityRevoked);
    until("the closed connection", || world.records.open() == 1).await;
    read(&mut untouched, TICK * 5).await.expect("the other's stream goes on");
    assert_eq!(world.records.ends().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_revoked_is_left_at_once_and_the_calls_under_way_say_why() {
    let world = World::new().await;
    let channel = world.channel(|it| it);
    let mut down = call(&channel, DOWN).await.expect("a stream").into_body();
    read(&mut down, TICK * 3).await.expect("its messages");
    assert_eq!(world.client.1.connections_ended(), 0);
    revoke(&world.client.0, &[RevocationKey::identity(&id("/server"))]);
    let status = cut(&mut down, Instant::now()).await;
    assert_eq!((reason(&status), status.code()), (Some(Reason::IdentityRevoked), Code::PermissionDenied));
    let refused = call(&channel, DOWN).await.map(|_| ()).expect_err("the next connection is refused too");
    assert_eq!(reason(&refused), Some(Reason::IdentityRevoked), "{refused:?}");
    assert_eq!(world.client.1.connections_ended(), 1);
    until("the end of the connection", || world.records.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_a_stolen_certificate_that_has_renewed_loses_no_call_when_the_old_serial_is_revoked() {
    let ca = Ca::new();
    let ttl = Duration::from_secs(20); // so that moves come within a second
    let (server, identity) = ca.identity_for("/server", ttl);
    let running = serve(identity.clone(), ServerOptions::default()).await;
    let (client, calling) = ca.identity_for("/client", ttl);
    let channel = channel(&calling, &running);
    check(&channel).await.expect("a call");
    let stolen = [serial_of(&identity), serial_of(&calling)];
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let caller = tokio::spawn({
        let (channel, stop) = (channel.clone(), stop.clone());
        async move {
            let mut calls = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                check(&channel).await?;
                calls += 1;
            }
            Ok::<_, Status>(calls)
        }
    });
    server.update(ca.svid(&id("/server"), ttl));
    client.update(ca.svid(&id("/client"), ttl));
    let renewed = calling.snapshot().svid.leaf().serial().to_owned();
    let uses = |serial: &str| {
        let all = running.records.all();
        all.iter().any(|it| it.verdict == Verdict::Accepted && it.peer_serial.as_deref() == Some(serial))
    };
    until("the move to the new certificate", || uses(&renewed)).await;
    until("the end of what was made with the old ones", || running.records.open() == 1).await;
    for publisher in [&server, &client] {
        revoke(publisher, &stolen);
    }
    tokio::time::sleep(TICK * 10).await; // calls that would fail now
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(caller.await.expect("a task").expect("no call fails") > 0);
    assert!(running.records.ends().is_empty(), "{:?}", running.records.ends());
    assert_eq!((identity.connections_ended(), calling.connections_ended()), (0, 0));
}

#[tokio::test]
async fn an_accepted_connection_made_with_an_older_certificate_of_the_server_is_asked_to_go_after_a_renewal()
{
    let ca = Ca::new();
    let (server, identity) = ca.identity_for("/server", Duration::from_secs(20));
    let running = serve(identity, ServerOptions::default()).await;
    let (_client, calling) = ca.identity("/client");
    let channel = channel(&calling, &running);
    check(&channel).await.expect("a call");
    server.update(ca.bundles());
    server.update(ca.svid(&id("/server"), Duration::from_secs(20)));
    until("the end of the old connection", || running.records.closed() == 1).await;
    check(&channel).await.expect("a call over a new one");
    assert!(running.records.ends().is_empty(), "it was nobody's fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_in_the_middle_of_handshakes_leaves_no_connection_of_the_revoked_one() {
    let ca = Ca::new();
    let (server, identity) = ca.identity("/server");
    let running = serve(identity, ServerOptions::default()).await;
    for round in 0..20_u64 {
        let (_publisher, client) = ca.identity("/client");
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let channel = channel(&client, &running);
                tokio::spawn(async move {
                    let _ = check(&channel).await; // whether it was early enough is chance
                    channel
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(300 * round)).await;
        revoke(&server, &[serial_of(&client)]);
        let mut channels = Vec::new();
        for task in opening {
            channels.push(task.await.expect("a task"));
        }
        until("the end of every connection", || running.records.open() == 0).await;
        for channel in &channels {
            check(channel).await.expect_err("it is revoked");
        }
        revoke(&server, &[]);
    }
}

#[test]
fn a_key_hits_whom_it_names_and_nobody_of_another_trust_domain() {
    let ca = Ca::new();
    let (_publisher, client) = ca.identity("/client");
    let snapshot = client.snapshot();
    let peer = PeerIdentity::from_leaf(snapshot.svid.leaf(), &snapshot.svid.chain()[0]);
    let hits = |key: RevocationKey| {
        let revocation = Revocation { key, since: Generation::NONE, ends_at: now(), proof: [0; 16] };
        Revocations::new([revocation]).expect("one").of(&peer).is_some()
    };
    assert!(hits(RevocationKey::identity(&id("/client"))) && hits(serial_of(&client)));
    let elsewhere: SpiffeId = "spiffe://other.example/client".parse().expect("an ID");
    assert!(!hits(RevocationKey::identity(&elsewhere)) && !hits(RevocationKey::identity(&id("/clien"))));
    assert!(!hits(RevocationKey::serial(elsewhere.trust_domain(), peer.serial())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_connections_of_one_identity_among_many_are_closed_together() {
    let ca = Ca::new();
    let (server, identity) = ca.identity("/server");
    let server_of = avouch_identity::Server::new(identity, IdentityFilter::trust_domain(domain()));
    let running = crate::support::serve_with(server_of).await;
    let mut channels = Vec::new();
    let identities: Vec<_> = (0..8).map(|n| ca.identity(&format!("/client-{n}"))).collect();
    for (_, identity) in &identities {
        for _ in 0..if channels.is_empty() { 50 } else { 10 } {
            let channel = channel(identity, &running);
            check(&channel).await.expect("a call");
            channels.push(channel);
        }
    }
    let all = running.records.open();
    revoke(&server, &[RevocationKey::identity(&identities[0].1.spiffe_id())]);
    let begun = Instant::now();
    until("the end of the fifty", || running.records.open() == all - 50).await;
    eprintln!("fifty of {all} connections closed after {:?}", begun.elapsed());
    assert!(begun.elapsed() < SOON);
    assert_eq!(running.records.ends().len(), 50);
    assert!(running.records.ends().iter().all(|end| end.reason == Reason::IdentityRevoked));
}
