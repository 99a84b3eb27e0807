//! Recovery: the expired certificate, and the proof that its key is still there.

use crate::harness::{Held, ORDERS, World, csr, reason};
use avouch_api::admin::v1::{CreateEntryRequest, DeleteEntryRequest, Entry};
use avouch_api::issuer::v1::RecoverRequest;
use avouch_attacker::floods::Peer;
use avouch_attacker::tls::{self, Approach};
use avouch_issuer::store::Origin;
use avouch_spiffe::Reason;
use avouch_spiffe::x509::Leaf;
use rcgen::KeyPair;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const BEGIN: &str = "/avouch.issuer.v1.Issuer/BeginRecovery";

/// A workload that was away until its certificate had expired.
async fn away() -> (World, Held) {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    world.until(held.leaf().not_after() + Duration::from_secs(600)).await;
    (world, held)
}

#[tokio::test]
async fn whoever_still_has_the_key_gets_a_fresh_certificate() {
    let (world, held) = away().await;
    let svid = world.connect(None).await.recover_honestly(&held).await.unwrap();
    let leaf = Leaf::parse(&svid.chain[0]).unwrap();
    assert_eq!(leaf.spiffe_id().as_str(), ORDERS);
    assert!(leaf.not_after() > held.leaf().not_after());
    let row = world.issuer().store().certificate(leaf.serial()).await.unwrap().unwrap();
    assert_eq!(row.origin, Origin::Recover);
}

#[tokio::test]
async fn a_replayed_recovery_is_refused() {
    let (world, held) = away().await;
    let mut raw = world.connect(None).await;
    let nonce = raw.nonce().await.unwrap();
    let request = raw.recovery(&held, &held.key, nonce);
    raw.recover(request.clone()).await.unwrap();
    assert_eq!(reason(raw.recover(request).await), Some(Reason::CertSignatureInvalid));
}

#[tokio::test]
async fn a_recovery_recorded_elsewhere_is_worth_nothing_on_another_connection() {
    let (world, held) = away().await;
    let (mut victim, mut thief) = (world.connect(None).await, world.connect(None).await);
    let nonce = victim.nonce().await.unwrap();
    let request = victim.recovery(&held, &held.key, nonce);
    assert_eq!(reason(thief.recover(request).await), Some(Reason::CertSignatureInvalid));
    // And with a nonce of its own, the signature covers another one.
    let nonce = victim.nonce().await.unwrap();
    let request = victim.recovery(&held, &held.key, nonce);
    let nonce = thief.nonce().await.unwrap();
    let refused = thief.recover(RecoverRequest { nonce, ..request }).await;
    assert_eq!(reason(refused), Some(Reason::CertSignatureInvalid));
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key_is_worth_nothing() {
    let (world, held) = away().await;
    let mut raw = world.connect(None).await;
    let nonce = raw.nonce().await.unwrap();
    let request = raw.recovery(&held, &KeyPair::generate().unwrap(), nonce);
    assert_eq!(reason(raw.recover(request).await), Some(Reason::CertSignatureInvalid));
    for proof in [vec![], vec![0; 64], vec![0x30; 70]] {
        let nonce = raw.nonce().await.unwrap();
        let request = RecoverRequest { proof, ..raw.recovery(&held, &held.key, nonce) };
        assert_eq!(reason(raw.recover(request).await), Some(Reason::CertSignatureInvalid));
    }
}

#[tokio::test]
async fn the_proof_covers_the_request() {
    let (world, held) = away().await;
    let mut raw = world.connect(None).await;
    let nonce = raw.nonce().await.unwrap();
    let mut request = raw.recovery(&held, &held.key, nonce);
    request.csr = csr(&KeyPair::generate().unwrap(), &[]);
    assert_eq!(reason(raw.recover(request).await), Some(Reason::CertSignatureInvalid));
}

#[tokio::test]
async fn nonces_are_used_up_by_failures_too_and_are_few() {
    let (world, held) = away().await;
    let mut raw = world.connect(None).await;
    let nonce = raw.nonce().await.unwrap();
    let wrong = raw.recovery(&held, &KeyPair::generate().unwrap(), nonce.clone());
    assert!(raw.recover(wrong).await.is_err());
    let right = raw.recovery(&held, &held.key, nonce);
    assert_eq!(reason(raw.recover(right).await), Some(Reason::CertSignatureInvalid));
    for _ in 0..4 {
        raw.nonce().await.unwrap();
    }
    assert_eq!(reason(raw.nonce().await), Some(Reason::RateLimited));
    assert!(world.connect(None).await.nonce().await.is_ok(), "others are not affected");
}

#[tokio::test]
async fn a_connection_with_an_identity_has_no_more_nonces_than_one_without() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let mut raw = world.connect(Some(&held)).await;
    for _ in 0..4 {
        raw.nonce().await.unwrap();
    }
    assert_eq!(reason(raw.nonce().await), Some(Reason::RateLimited));
}

#[tokio::test]
async fn a_nonce_ends_with_its_connection() {
    let (world, held) = away().await;
    let nonce = world.connect(None).await.nonce().await.unwrap();
    let mut later = world.connect(None).await;
    let request = later.recovery(&held, &held.key, nonce);
    assert_eq!(reason(later.recover(request).await), Some(Reason::CertSignatureInvalid));
}

/// Begins as many recoveries as a connection may, from `network`, and keeps the connection.
async fn stranger(world: &World, network: IpAddr) -> Peer {
    let tcp = tls::socket(world.address, Some(network)).await.unwrap();
    let mut peer = Peer::start(tls::handshake(tcp, Approach::showing(None)).await.unwrap()).await;
    peer.calls(BEGIN, &[], 4, 4, Duration::ZERO).await;
    // Two frames with headers an answer: a refusal would be one.
    let deadline = Instant::now() + Duration::from_secs(20);
    while peer.seen().headers < 8 {
        assert!(Instant::now() < deadline && !peer.seen().ended, "a recovery is refused: {:?}", peer.seen());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_recoveries_that_strangers_begin_keep_no_workload_from_its_own() {
    let (world, held) = away().await;
    let world = Arc::new(world);
    let mut strangers = JoinSet::new();
    // Each network stays below its rate: 48 connections of four calls, four of which connections stay. 8,448 recoveries.
    for network in 2..46 {
        let world = Arc::clone(&world);
        let network = IpAddr::from([127, 0, 0, network]);
        strangers.spawn(async move {
            for _ in 0..44 {
                drop(stranger(&world, network).await);
            }
            let mut staying = Vec::new();
            for _ in 0..4 {
                staying.push(stranger(&world, network).await);
            }
            staying
        });
    }
    // Meanwhile, and when all of them have begun.
    world.connect(None).await.recover_honestly(&held).await.unwrap();
    let staying: Vec<Peer> = strangers.join_all().await.into_iter().flatten().collect();
    world.connect(None).await.recover_honestly(&held).await.unwrap();
    drop(staying);
}

#[tokio::test]
async fn after_the_window_it_is_over() {
    let (world, held) = away().await;
    world.until(held.leaf().not_after() + Duration::from_secs(3_600)).await;
    let svid = world.connect(None).await.recover_honestly(&held).await.unwrap();
    drop(svid);
    world.until(held.leaf().not_after() + Duration::from_secs(3_601)).await;
    let refused = world.connect(None).await.recover_honestly(&held).await;
    assert_eq!(reason(refused), Some(Reason::RecoveryWindowOver));
}

#[tokio::test]
async fn an_entry_may_have_a_window_of_its_own() {
    let world = World::new().await;
    let window = Some(Duration::from_secs(60).try_into().unwrap());
    let entry = Entry { spiffe_id: ORDERS.to_owned(), recovery_window: window, ..Entry::default() };
    world.admin().await.create_entry(CreateEntryRequest { entry: Some(entry) }).await.unwrap();
    let held = world.enroll(&world.token(ORDERS).await).await.unwrap();
    world.until(held.leaf().not_after() + Duration::from_secs(61)).await;
    let refused = world.connect(None).await.recover_honestly(&held).await;
    assert_eq!(reason(refused), Some(Reason::RecoveryWindowOver));
}

#[tokio::test]
async fn a_deleted_entry_does_not_recover_not_even_as_its_successor() {
    let (world, held) = away().await;
    let entry = DeleteEntryRequest { spiffe_id: ORDERS.to_owned() };
    world.admin().await.delete_entry(entry).await.unwrap();
    let refused = world.connect(None).await.recover_honestly(&held).await;
    assert_eq!(reason(refused), Some(Reason::NoMatchingEntry));
    world.entry(ORDERS).await;
    let refused = world.connect(None).await.recover_honestly(&held).await;
    assert_eq!(reason(refused), Some(Reason::NoMatchingEntry));
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_untrusted_whatever_it_says() {
    let (world, held) = away().await;
    let other = World::new().await;
    let theirs = other.enroll(&other.invited(ORDERS).await).await.unwrap();
    let refused = world.connect(None).await.recover_honestly(&theirs).await;
    assert_eq!(reason(refused), Some(Reason::CertUntrusted));
    // Nor does the true signing authority behind a foreign leaf help.
    let mixed = Held { chain: vec![theirs.chain[0].clone(), held.chain[1].clone()], key: theirs.key };
    let refused = world.connect(None).await.recover_honestly(&mixed).await;
    assert_eq!(reason(refused), Some(Reason::CertUntrusted));
}

#[tokio::test]
async fn broken_chains_are_refused_each_with_its_reason() {
    let (world, held) = away().await;
    let leaf = held.chain[0].clone();
    let mut truncated = leaf.clone();
    truncated.truncate(100);
    for (chain, expected) in [
        (vec![], Reason::CertMalformed),
        (vec![leaf.clone()], Reason::CertUntrusted),
        (vec![truncated], Reason::CertMalformed),
        (vec![vec![0xff; 50]], Reason::CertMalformed),
        (vec![leaf.clone(); 5], Reason::CertChainTooDeep),
        (vec![leaf, vec![0x30; 20_000]], Reason::CertTooLarge),
        (vec![held.chain[1].clone()], Reason::SvidInvalid),
    ] {
        let mut raw = world.connect(None).await;
        let nonce = raw.nonce().await.unwrap();
        let request = RecoverRequest { expired_chain: chain, ..raw.recovery(&held, &held.key, nonce) };
        assert_eq!(reason(raw.recover(request).await), Some(expected));
    }
}

#[tokio::test]
async fn a_workload_whose_clock_is_ahead_recovers_before_its_certificate_has_expired() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    world.connect(None).await.recover_honestly(&held).await.unwrap();
}
