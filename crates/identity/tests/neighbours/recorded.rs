//! Answers as an issuer before trust states encodes them (`proto/avouch/recorded`): a workload takes what they bring.

use std::path::Path;

use avouch_api::issuer::v1::{RenewResponse, WatchTrustResponse};
use avouch_identity::HeldTrust;
use avouch_identity::spiffe::{Bundle, Generation, TrustState};
use prost::Message;

/// A recorded message, decoded by today's code.
fn recorded<M: Message + Default>(name: &str) -> M {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/avouch/recorded").join(name);
    let text = std::fs::read_to_string(file.with_extension("txt")).expect("a recorded message");
    let (_, hex) = text.split_once("bytes:\n").expect("its bytes");
    let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|it| u8::from_str_radix(it, 16).ok());
    let bytes: Option<Vec<_>> = digits.chunks(2).map(octet).collect();
    M::decode(bytes.expect("hexadecimal").as_slice()).expect("a message")
}

#[test]
fn the_bundle_of_an_older_issuers_stream_comes_into_use_once() {
    let answer: WatchTrustResponse = recorded("watch-trust-response");
    assert!(answer.trust.is_empty());
    let bundle = answer.bundle.expect("a bundle");
    let domain = bundle.trust_domain.parse().expect("a trust domain");
    let bundle = Bundle::from_ders(domain, &bundle.x509_authorities, bundle.sequence).expect("usable");
    let held = HeldTrust::from(TrustState::default());
    let next = held.with_bundle(bundle.clone()).expect("newer than nothing");
    assert_eq!(next.generation(), Generation::NONE);
    assert_eq!(next.state().bundles.get(bundle.trust_domain()).map(|held| held.sequence()), Some(7));
    assert!(next.with_bundle(bundle).is_none(), "the same again");
}

#[test]
fn an_older_issuers_renewal_has_a_bundle_and_no_trust_state() {
    let svid = recorded::<RenewResponse>("renew-response").svid.expect("an SVID");
    assert!(svid.trust.is_empty());
    assert_eq!((svid.chain.len(), svid.bundle.map(|bundle| bundle.sequence)), (1, Some(4)));
}
