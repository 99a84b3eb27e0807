//! Requests for certificates that mean no good: what the entry allows, or a refusal, and never a crash.

use crate::harness::{ORDERS, World, csr, reason};
use avouch_spiffe::Reason;
use avouch_spiffe::x509::Leaf;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
};

fn hostile(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(key).unwrap().der().to_vec()
}

#[tokio::test]
async fn only_the_public_key_is_taken_from_a_request() {
    let world = World::new().await;
    world.entry(ORDERS).await;
    let key = KeyPair::generate().unwrap();
    let greedy = [
        hostile(&key, |p| {
            p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }),
        hostile(&key, |p| {
            p.distinguished_name.push(DnType::CommonName, "root of everything");
            p.subject_alt_names = vec![
                SanType::DnsName("payments.market.example".try_into().unwrap()),
                SanType::IpAddress([10, 0, 0, 1].into()),
            ];
        }),
        hostile(&key, |p| {
            let big = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 7], vec![4; 8_000]);
            p.custom_extensions.push(big);
        }),
    ];
    for csr in greedy {
        let token = world.token(ORDERS).await;
        let svid = world.connect(None).await.enroll(token.secret(), csr).await.unwrap();
        let leaf = Leaf::parse(&svid.chain[0]).unwrap(); // no CA, the usages of an SVID
        assert_eq!(leaf.spiffe_id().as_str(), ORDERS);
        assert!(leaf.subject().is_empty() && leaf.dns_names().is_empty());
        assert!(svid.chain[0].len() < 1_000);
    }
}

#[tokio::test]
async fn what_is_no_usable_request_is_refused_and_the_issuer_lives_on() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let key = KeyPair::generate().unwrap();
    let good = csr(&key, &[]);
    let mut unsigned = good.clone();
    if let Some(last) = unsigned.last_mut() {
        *last ^= 1;
    }
    let mut trailing = good.clone();
    trailing.push(0);
    let ed25519 = csr(&KeyPair::generate_for(&PKCS_ED25519).unwrap(), &[]);
    let many = csr(&key, &[ORDERS, "spiffe://market.example/payments"]);
    let nested = [vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff], vec![0x30; 5_000]].concat();
    let large = hostile(&key, |p| {
        p.custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 7], vec![4; 40_000]));
    });
    let mut raw = world.connect(None).await;
    for bad in [vec![], vec![0], good[..60].to_vec(), unsigned, trailing, ed25519, many, nested, large] {
        assert_eq!(reason(raw.enroll(token.secret(), bad).await), Some(Reason::CsrInvalid));
    }
    // A megabyte does not get as far as being parsed.
    let megabyte = raw.enroll(token.secret(), vec![0x30; 1 << 20]).await.unwrap_err();
    assert!(
        matches!(megabyte.code(), tonic::Code::OutOfRange | tonic::Code::ResourceExhausted),
        "{megabyte}"
    );
    world.connect(None).await.enroll(token.secret(), good).await.unwrap();
}

#[tokio::test]
async fn a_p384_key_that_signs_with_its_own_hash_gets_a_certificate_for_itself() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let held = world.enroll_with(&token, key).await.unwrap();
    assert_eq!(held.leaf().key_algorithm().bits(), 384);
    world.connect(Some(&held)).await.renew(csr(&KeyPair::generate().unwrap(), &[])).await.unwrap();
}

#[tokio::test]
async fn mutilated_requests_never_get_anything_but_a_refusal() {
    let world = World::new().await;
    let token = world.invited(ORDERS).await;
    let good = csr(&KeyPair::generate().unwrap(), &[ORDERS]);
    let mut raw = world.connect(None).await;
    for place in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[place] = bad[place].wrapping_add(0x55);
        let status = match raw.enroll(token.secret(), bad).await {
            Ok(_) => panic!("byte {place} is not covered"),
            Err(status) => status,
        };
        let reason = avouch_identity::reason(&status);
        if reason == Some(Reason::RateLimited) {
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            continue;
        }
        assert_eq!(reason, Some(Reason::CsrInvalid), "byte {place}: {status}");
    }
}
