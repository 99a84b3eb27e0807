//! Join tokens over the wire.

use crate::harness::{ORDERS, World, csr, reason};
use avouch_api::admin::v1::{CreateEntryRequest, CreateTokenRequest, Entry};
use avouch_api::issuer::v1::EnrollRequest;
use avouch_issuer::config::RateLimitSettings;
use avouch_issuer::store::{CertificateFilter, Origin, Page};
use avouch_spiffe::Reason;
use avouch_spiffe::x509::Authority;
use avouch_time::clock::Clock;
use rcgen::KeyPair;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_workload_gets_its_chain_and_the_bundle_and_is_on_record() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let key = KeyPair::generate().unwrap();
    let mut raw = world.connect(None).await;
    let svid = raw.enroll(token.secret(), csr(&key, &[ORDERS])).await.unwrap();

    assert_eq!(svid.chain.len(), 2, "leaf and signing authority; the root is in the bundle");
    let leaf = avouch_spiffe::x509::Leaf::parse(&svid.chain[0]).unwrap();
    assert_eq!(leaf.spiffe_id().as_str(), ORDERS);
    let life = leaf.not_after().duration_since(leaf.not_before()).unwrap();
    assert!(life >= Duration::from_secs(29) && life <= Duration::from_secs(31), "{life:?}");
    let bundle = svid.bundle.unwrap();
    assert_eq!((bundle.trust_domain.as_str(), bundle.sequence), ("market.example", 1));
    let root = Authority::parse(&bundle.x509_authorities[0]).unwrap();
    assert_eq!(token.root_pins(), [root.sha256()]);
    assert!(svid.issuer_time.is_some());

    let rows = world.issuer().store().certificates(CertificateFilter::default(), Page::all()).await.unwrap();
    let row = rows.iter().find(|row| row.serial == leaf.serial()).unwrap();
    assert_eq!((row.origin, row.spiffe_id.as_str()), (Origin::Enroll, ORDERS));
}

#[tokio::test]
async fn the_issuer_shows_its_own_identity_with_the_root_at_the_end_of_the_chain() {
    let world = World::new().await;
    let raw = world.connect(None).await;
    let leaf = avouch_spiffe::x509::Leaf::parse(&raw.server_chain[0]).unwrap();
    assert_eq!(leaf.spiffe_id().as_str(), "spiffe://market.example/avouch/issuer");
    assert_eq!(raw.server_chain.len(), 3);
    let roots = world.issuer().trust().current();
    assert_eq!(raw.server_chain[2], roots.authorities()[0].der());
}

#[tokio::test]
async fn of_two_keys_that_race_with_one_token_exactly_one_wins() {
    let world = Arc::new(World::new().await);
    for round in 0..10 {
        let token = world.invited(&format!("spiffe://market.example/racer-{round}")).await;
        let racers: Vec<_> = (0..2)
            .map(|_| {
                let (world, token) = (Arc::clone(&world), token.clone());
                tokio::spawn(async move { world.enroll(&token).await })
            })
            .collect();
        let mut refused = Vec::new();
        for racer in racers {
            refused.extend(reason(racer.await.unwrap()));
        }
        assert_eq!(refused, [Reason::JoinTokenAlreadyUsed], "round {round}");
    }
}

#[tokio::test]
async fn the_same_token_with_the_same_key_may_be_retried_until_it_expires_and_no_other_key_may() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let key = KeyPair::generate().unwrap();
    let mut raw = world.connect(None).await;
    let first = raw.enroll(token.secret(), csr(&key, &[])).await.unwrap();
    world.until(world.clock.now() + Duration::from_secs(599)).await;
    let mut raw = world.connect(None).await;
    let second = raw.enroll(token.secret(), csr(&key, &[])).await.unwrap();
    assert_ne!(first.chain[0], second.chain[0], "each time a certificate of its own");
    assert_eq!(reason(world.enroll(&token).await), Some(Reason::JoinTokenAlreadyUsed));
    world.clock.advance(Duration::from_secs(2));
    let retried = raw.enroll(token.secret(), csr(&key, &[])).await;
    assert_eq!(reason(retried), Some(Reason::JoinTokenExpired));
}

#[tokio::test]
async fn unknown_and_expired_tokens_are_refused_without_saying_more() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let mut raw = world.connect(None).await;
    let key = KeyPair::generate().unwrap();
    for wrong in ["", "x", &"A".repeat(43), &"A".repeat(10_000), &token.encode()] {
        let status = raw.enroll(wrong, csr(&key, &[])).await.unwrap_err();
        assert_eq!(avouch_identity::reason(&status), Some(Reason::JoinTokenInvalid));
        assert!(status.message().contains("decision d-") && !status.message().contains("orders"));
    }
    let none = raw.client.enroll(EnrollRequest { evidence: None, csr: csr(&key, &[]), held: None }).await;
    assert_eq!(reason(none), Some(Reason::NoMatchingEntry));
    world.until(world.clock.now() + Duration::from_secs(601)).await;
    assert_eq!(reason(world.enroll(&token).await), Some(Reason::JoinTokenExpired));
}

#[tokio::test]
async fn a_request_for_somebody_else_is_refused_and_spends_nothing() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let mut raw = world.connect(None).await;
    let thief = KeyPair::generate().unwrap();
    for other in ["spiffe://market.example/payments", "spiffe://other.example/orders"] {
        let refused = raw.enroll(token.secret(), csr(&thief, &[other])).await;
        assert_eq!(reason(refused), Some(Reason::CsrIdentityMismatch));
    }
    world.enroll(&token).await.unwrap();
}

#[tokio::test]
async fn a_token_dies_with_its_entry() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let request = avouch_api::admin::v1::DeleteEntryRequest { spiffe_id: ORDERS.to_owned() };
    world.admin().await.delete_entry(request).await.unwrap();
    assert_eq!(reason(world.enroll(&token).await), Some(Reason::JoinTokenInvalid));
    world.entry(ORDERS).await;
    assert_eq!(reason(world.enroll(&token).await), Some(Reason::JoinTokenInvalid));
}

#[tokio::test]
async fn a_tokens_life_is_bounded() {
    let world = World::new().await;
    world.entry(ORDERS).await;
    let mut admin = world.admin().await;
    for seconds in [0, 24 * 3600 + 1] {
        let ttl = Some(Duration::from_secs(seconds).try_into().unwrap());
        let refused = admin.create_token(CreateTokenRequest { spiffe_id: ORDERS.to_owned(), ttl }).await;
        assert_eq!(refused.unwrap_err().code(), tonic::Code::InvalidArgument, "{seconds}");
    }
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let n = |n| NonZeroU32::new(n).unwrap();
    let world = World::with(|config| {
        config.rate_limits = RateLimitSettings {
            unauthenticated_per_second: n(1),
            unauthenticated_burst: n(3),
            authenticated_per_second: n(1),
            authenticated_burst: n(2),
        };
    })
    .await;
    let token = world.invited(ORDERS).await;
    let held = world.enroll(&token).await.unwrap();
    let mut raw = world.connect(None).await;
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(reason(raw.nonce().await));
    }
    assert!(outcomes.contains(&Some(Reason::RateLimited)), "{outcomes:?}");
    // Who is known by name is counted by name.
    let mut known = world.connect(Some(&held)).await;
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(known.renew(csr(&KeyPair::generate().unwrap(), &[])).await);
    }
    assert!(outcomes[0].is_ok());
    let refused = outcomes.into_iter().find_map(Result::err).unwrap();
    assert_eq!(avouch_identity::reason(&refused), Some(Reason::RateLimited));
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
}

#[tokio::test]
async fn an_entrys_own_life_and_names_are_what_the_workload_gets() {
    let world = World::new().await;
    let ttl = Some(Duration::from_secs(60).try_into().unwrap());
    let dns_names = vec!["localhost".to_owned()];
    let entry = Entry { spiffe_id: ORDERS.to_owned(), svid_ttl: ttl, dns_names, ..Entry::default() };
    world.admin().await.create_entry(CreateEntryRequest { entry: Some(entry) }).await.unwrap();
    let leaf = world.enroll(&world.token(ORDERS).await).await.unwrap().leaf();
    let left = leaf.not_after().duration_since(world.clock.now()).unwrap();
    assert!(left > Duration::from_secs(58) && left <= Duration::from_secs(60), "{left:?}");
    assert_eq!(leaf.dns_names(), ["localhost"]);
}
