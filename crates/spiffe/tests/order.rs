//! Which order the certificates of a file should have been in.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod support;

use avouch_spiffe::x509::leaf_first;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use support::{leaf, root, sign};

/// Leaf, lower intermediate, upper intermediate and root; each is signed by the next.
fn chain() -> Vec<Vec<u8>> {
    let named = |name: &str| {
        let mut params: CertificateParams = root();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        (params, KeyPair::generate().unwrap())
    };
    let mut workload = leaf();
    workload.use_authority_key_identifier_extension = true;
    let levels = [(workload, KeyPair::generate().unwrap()), named("lower"), named("upper"), named("root")];
    let signed = levels.iter().enumerate().map(|(at, (params, key))| {
        let (above, above_key) = &levels[(at + 1).min(3)];
        let issuer = Issuer::from_params(above, above_key);
        params.signed_by(key, &issuer).unwrap().der().to_vec()
    });
    signed.collect()
}

fn order(places: &[usize]) -> Option<Vec<usize>> {
    let chain = chain();
    leaf_first(&places.iter().map(|place| chain[*place].clone()).collect::<Vec<_>>())
}

#[test]
fn a_chain_that_is_in_order_is_left_alone() {
    for places in [&[0][..], &[0, 1], &[0, 1, 2, 3], &[0, 1, 3]] {
        assert_eq!(order(places), None, "{places:?}");
    }
}

#[test]
fn the_leaf_comes_first_and_each_is_followed_by_its_issuer() {
    for (places, wanted) in [
        (&[1, 0][..], &[1, 0][..]),
        (&[3, 2, 1, 0], &[3, 2, 1, 0]),
        (&[0, 2, 1, 3], &[0, 2, 1, 3]),
        (&[2, 0, 1], &[1, 2, 0]),
        (&[3, 0], &[1]), // the root does not follow without what is between
    ] {
        assert_eq!(order(places).as_deref(), Some(wanted), "{places:?}");
    }
}

#[test]
fn what_is_no_single_chain_has_no_order() {
    let chain = chain();
    assert_eq!(order(&[1, 2, 3]), None, "no leaf");
    assert_eq!(leaf_first(&[chain[1].clone(), sign(&leaf()), sign(&leaf())]), None, "two leaves");
    assert_eq!(leaf_first(&[chain[1].clone(), b"\x30\x00".to_vec(), chain[0].clone()]), None, "unreadable");
    assert_eq!(leaf_first(&Vec::<Vec<u8>>::new()), None);
    let many: Vec<_> = std::iter::repeat_n(chain[3].clone(), 64).chain([chain[0].clone()]).collect();
    assert_eq!(leaf_first(&many), None, "too many");
}

#[test]
fn certificates_that_name_each_other_as_issuers_end() {
    let (mut a, mut b) = (root(), root());
    a.distinguished_name.push(DnType::OrganizationName, "a");
    b.distinguished_name.push(DnType::OrganizationName, "b");
    let (a_key, b_key, key) =
        (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let ders = [
        a.signed_by(&a_key, &Issuer::from_params(&b, &b_key)).unwrap().der().to_vec(),
        b.signed_by(&b_key, &Issuer::from_params(&a, &a_key)).unwrap().der().to_vec(),
        leaf().signed_by(&key, &Issuer::from_params(&a, &a_key)).unwrap().der().to_vec(),
    ];
    assert_eq!(leaf_first(&ders), Some(vec![2, 0, 1]));
}
