//! What a restart keeps, and what two processes must not do.

use crate::harness::{ORDERS, World, csr, reason};
use avouch_files::PrivateDirError;
use avouch_issuer::store::{CertificateFilter, Page};
use avouch_issuer::{Issuer, StartError};
use avouch_spiffe::Reason;
use rcgen::KeyPair;

#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut world = World::new().await;
    let (used, unused) = (world.invited(ORDERS).await, world.token(ORDERS).await);
    let held = world.enroll(&used).await.unwrap();
    let before = world.issuer().trust().current();
    let rows = world.issuer().store().certificates(CertificateFilter::default(), Page::all()).await.unwrap();
    world.restart().await;

    let after = world.issuer().trust().current();
    assert_eq!((after.sequence(), after.authorities()), (before.sequence(), before.authorities()));
    let now = world.issuer().store().certificates(CertificateFilter::default(), Page::all()).await.unwrap();
    assert!(rows.iter().all(|row| now.contains(row)), "and one more: the issuer's own");
    assert_eq!(reason(world.enroll(&used).await), Some(Reason::JoinTokenAlreadyUsed));
    world.enroll(&unused).await.unwrap();
    world.connect(Some(&held)).await.renew(csr(&KeyPair::generate().unwrap(), &[])).await.unwrap();
}

#[tokio::test]
async fn a_second_issuer_on_the_same_data_is_refused() {
    let world = World::new().await;
    let error = Issuer::start(&world.config, avouch_time::clock::system()).await.unwrap_err();
    assert!(matches!(error, StartError::DataDir(PrivateDirError::InUse { .. })), "{error}");
    world.enroll(&world.invited(ORDERS).await).await.unwrap();
}

#[tokio::test]
async fn a_second_issuer_on_the_same_socket_is_refused_and_the_first_keeps_it() {
    let world = World::new().await;
    let mut config = world.config.clone();
    config.data_dir = world.temp.path().join("other");
    let other = Issuer::start(&config, avouch_time::clock::system()).await.unwrap();
    assert!(matches!(other.bind_admin().await, Err(StartError::AdminSocket(_))));
    world.entry(ORDERS).await;
}

#[tokio::test]
async fn the_socket_is_gone_when_the_issuer_is() {
    let mut world = World::new().await;
    assert!(world.config.admin_socket.exists());
    world.stop().await;
    assert!(!world.config.admin_socket.exists());
}

#[tokio::test]
async fn a_life_that_the_profile_does_not_allow_stops_the_start() {
    let temp = tempfile::tempdir().unwrap();
    let mut config = World::new().await.config.clone();
    config.data_dir = temp.path().join("d");
    config.svid_ttl = Some(std::time::Duration::from_secs(1));
    let error = Issuer::start(&config, avouch_time::clock::system()).await.unwrap_err();
    let text = avouch_text::with_causes(&error).to_string();
    assert!(text.contains("issuer.svid_ttl") && text.contains("between 10s"), "{text}");
}
