//! Requests as the version before trust states encodes them (`proto/avouch/recorded`): they are answered as they were then.

use std::path::Path;

use avouch_api::issuer::v1::enroll_request::Evidence;
use avouch_api::issuer::v1::{
    EnrollRequest, IssuedSvid, RenewRequest, WatchTrustRequest, WatchTrustResponse,
};
use prost::Message;
use tokio_stream::StreamExt as _;

use crate::harness::{ORDERS, World, eventually};

/// A recorded message, decoded by today's code.
fn recorded<M: Message + Default>(name: &str) -> M {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/avouch/recorded").join(name);
    let text = std::fs::read_to_string(file.with_extension("txt")).unwrap();
    let (_, hex) = text.split_once("bytes:\n").unwrap();
    let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    M::decode(digits.chunks(2).map(octet).collect::<Vec<_>>().as_slice()).unwrap()
}

/// Whether the answer carries what an older workload does not know.
fn has_trust(issued: &IssuedSvid) -> bool {
    !issued.trust.is_empty()
}

#[tokio::test]
async fn an_older_workload_gets_a_bundle_on_the_trust_stream_and_no_trust_state() {
    let world = World::new().await;
    let held = world.enroll(&world.invited(ORDERS).await).await.unwrap();
    let mut raw = world.connect(Some(&held)).await;
    let greeting: WatchTrustRequest = recorded("watch-trust-greeting");
    let acknowledgement: WatchTrustRequest = recorded("watch-trust-acknowledgement");
    assert!(greeting.acknowledged.is_none() && greeting.instance.is_empty());
    let sent = tokio_stream::iter([greeting, acknowledgement]).chain(tokio_stream::pending());
    let mut answers = raw.client.watch_trust(sent).await.unwrap().into_inner();
    let first: WatchTrustResponse = answers.message().await.unwrap().unwrap();
    let bundle = first.bundle.clone().expect("a bundle");
    assert_eq!((bundle.trust_domain.as_str(), bundle.sequence), ("market.example", 1));
    assert!(first.trust.is_empty(), "{first:?}");
    // It claims a bundle that the issuer has not made yet; what is on record is what the issuer has.
    let acknowledged = eventually("the acknowledgement", async || {
        let all = world.issuer().store().acknowledgements(avouch_issuer::store::Page::all()).await.unwrap();
        all.into_iter().find(|ack| ack.sequence == 1)
    });
    assert_eq!(acknowledged.await.spiffe_id.as_str(), ORDERS);
}

#[tokio::test]
async fn an_older_workload_enrols_and_renews_and_gets_no_trust_state() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let old: EnrollRequest = recorded("enroll-request");
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = || rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let secret = token.secret().to_owned();
    let request = EnrollRequest { evidence: Some(Evidence::JoinToken(secret)), csr: csr(), ..old };
    let answer = world.connect(None).await.client.enroll(request).await.unwrap().into_inner().svid.unwrap();
    assert!(answer.bundle.is_some() && !has_trust(&answer), "{answer:?}");

    let held = world.enroll(&world.invited("spiffe://market.example/payments").await).await.unwrap();
    let old: RenewRequest = recorded("renew-request");
    let request = RenewRequest { csr: csr(), ..old };
    let answer =
        world.connect(Some(&held)).await.client.renew(request).await.unwrap().into_inner().svid.unwrap();
    assert!(answer.bundle.is_some() && !has_trust(&answer), "{answer:?}");
}
