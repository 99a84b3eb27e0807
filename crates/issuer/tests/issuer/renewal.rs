//! Renewal: the connection says who it is.

use crate::harness::{ORDERS, World, csr, eventually, reason};
use avouch_api::admin::v1::DeleteEntryRequest;
use avouch_issuer::store::{CertificateFilter, CertificateRecord, Origin, Page};
use avouch_spiffe::Reason;
use avouch_spiffe::x509::Leaf;
use rcgen::KeyPair;
use std::time::Duration;

fn request() -> Vec<u8> {
    csr(&KeyPair::generate().unwrap(), &[])
}

#[tokio::test]
async fn the_identity_comes_from_the_connection_and_the_key_from_the_request() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let svid = world.connect(Some(&held)).await.renew(request()).await.unwrap();
    let leaf = Leaf::parse(&svid.chain[0]).unwrap();
    assert_eq!(leaf.spiffe_id().as_str(), ORDERS);
    assert_ne!(leaf.spki_der(), held.leaf().spki_der());
    let row = world.issuer().store().certificate(leaf.serial()).await.unwrap().unwrap();
    assert_eq!(row.origin, Origin::Renew);
    let presented = world.issuer().store().certificate(&held.serial()).await.unwrap().unwrap();
    assert!(presented.last_seen.is_some());
}

#[tokio::test]
async fn nobody_renews_as_somebody_else() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    world.entry("spiffe://market.example/payments").await;
    let key = KeyPair::generate().unwrap();
    let refused =
        world.connect(Some(&held)).await.renew(csr(&key, &["spiffe://market.example/payments"])).await;
    assert_eq!(reason(refused), Some(Reason::CsrIdentityMismatch));
}

#[tokio::test]
async fn without_a_certificate_there_is_nothing_to_renew() {
    let world = World::new().await;
    let refused = world.connect(None).await.renew(request()).await;
    assert_eq!(reason(refused), Some(Reason::NoPeerIdentity));
}

#[tokio::test]
async fn an_expired_certificate_does_not_connect() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    world.clock.advance(Duration::from_secs(30));
    let refused = match crate::harness::try_connect(world.address, Some(&held)).await {
        Err(_) => true,
        Ok(mut raw) => raw.renew(request()).await.is_err(),
    };
    assert!(refused);
}

#[tokio::test]
async fn a_connection_from_before_the_certificate_ended_renews_nothing_and_recovery_goes_on() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let mut raw = world.connect(Some(&held)).await;
    raw.renew(request()).await.unwrap();
    world.until(held.leaf().not_after() + Duration::from_secs(2)).await;
    let issued = async || {
        let filter = CertificateFilter::default();
        let of_orders = |row: &CertificateRecord| row.spiffe_id.as_str() == ORDERS;
        world
            .issuer()
            .store()
            .certificates(filter, Page::all())
            .await
            .unwrap()
            .into_iter()
            .filter(of_orders)
            .count()
    };
    let before = issued().await;
    // The issuer says so, or has closed the connection by now.
    let refused = raw.renew(request()).await.unwrap_err();
    let said = avouch_identity::reason(&refused);
    assert!(matches!(said, Some(Reason::CertExpired) | None), "{refused:?}");
    assert_eq!(issued().await, before, "a certificate was issued to one that has ended");
    world.connect(None).await.recover_honestly(&held).await.unwrap();
    // Nor does such a connection help past the window.
    world.until(held.leaf().not_after() + Duration::from_secs(3_602)).await;
    raw.renew(request()).await.unwrap_err();
    let refused = world.connect(None).await.recover_honestly(&held).await;
    assert_eq!(reason(refused), Some(Reason::RecoveryWindowOver));
    assert_eq!(issued().await, before + 1);
}

#[tokio::test]
async fn a_deleted_entry_is_renewed_no_more_not_even_on_a_live_connection() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let mut raw = world.connect(Some(&held)).await;
    raw.renew(request()).await.unwrap();
    let entry = DeleteEntryRequest { spiffe_id: ORDERS.to_owned() };
    world.admin().await.delete_entry(entry).await.unwrap();
    assert_eq!(reason(raw.renew(request()).await), Some(Reason::NoMatchingEntry));
}

#[tokio::test]
async fn a_certificate_of_a_deleted_entry_does_not_come_back_with_a_new_entry_of_that_name() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let entry = DeleteEntryRequest { spiffe_id: ORDERS.to_owned() };
    world.admin().await.delete_entry(entry).await.unwrap();
    world.entry(ORDERS).await;
    let refused = world.connect(Some(&held)).await.renew(request()).await;
    assert_eq!(reason(refused), Some(Reason::NoMatchingEntry));
    world.enroll(&world.token(ORDERS).await).await.unwrap();
}

#[tokio::test]
async fn own_certificate_and_signing_authority_are_renewed_before_they_end() {
    let profiles = tempfile::tempdir().unwrap();
    World::quick_profiles(profiles.path(), "10s");
    let world = World::in_real_time(|config| {
        config.profiles = Some(profiles.path().to_owned());
        config.svid_ttl = Some(Duration::from_secs(5));
    })
    .await;
    let mut own = world.issuer().identity().subscribe();
    let first = world.issuer().identity().snapshot().svid.clone();
    let signing = first.chain()[1].clone();
    tokio::time::timeout(Duration::from_secs(5), own.changed()).await.expect("own certificate").unwrap();
    assert!(first.not_after() > avouch_time::clock::system().now(), "renewed while the old one holds");

    let token = world.invited(ORDERS).await;
    let key = KeyPair::generate().unwrap().serialize_pem();
    let deadline = std::time::Instant::now() + Duration::from_secs(9);
    loop {
        let held = world.enroll_with(&token, KeyPair::from_pem(&key).unwrap()).await.unwrap();
        if held.chain[1] != signing.as_ref() {
            // Both signing authorities lead to the one root: the old leaf still connects, the new one too.
            eventually("a call", async || world.connect(Some(&held)).await.renew(request()).await.ok()).await;
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the signing authority was not renewed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
