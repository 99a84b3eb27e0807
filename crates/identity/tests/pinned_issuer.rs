//! Which authority a peer is of: the one that signed.
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use avouch_identity::TrustStore;
use avouch_identity::spiffe::x509::CertificateInfo;
use rcgen::CustomExtension;
use support::{Ca, id, leaf_params, now, year};

/// A leaf may claim any authority key identifier; a policy that pins an authority goes by who signed.
#[test]
fn the_authority_of_a_peer_is_the_one_that_signed_and_not_the_one_its_leaf_names() {
    let ca = Ca::new();
    let signer = CertificateInfo::parse(&ca.intermediate)
        .expect("a certificate")
        .subject_key_id
        .expect("a key identifier");
    let store = TrustStore::new(ca.bundles());
    let (honest, _) = ca.sign(&leaf_params(id("/orders").as_str(), year()));
    let mut lying = leaf_params(id("/orders").as_str(), year());
    lying.use_authority_key_identifier_extension = false;
    let claimed = [&[0x30, 0x16, 0x80, 0x14][..], &[0x77; 20]].concat();
    lying.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 35], claimed)];
    let (lying, _) = ca.sign(&lying);
    assert_eq!(
        CertificateInfo::parse(&lying[0]).expect("a certificate").authority_key_id,
        Some("77".repeat(20))
    );
    for chain in [honest, lying] {
        let peer = store.verify(&chain, None, now()).expect("a peer");
        assert_eq!(peer.issuer_key_id(), Some(signer.as_str()));
    }
}
