//! The ID grammar against the crate `spiffe` 0.19, and the two ways in which we are stricter on purpose:
//! upper case in scheme or trust domain (they fold it, we refuse it), and IDs of more than 2048 bytes (they read them).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

use avouch_spiffe::{MAX_SPIFFE_ID_BYTES, SpiffeId, TrustDomain};
use proptest::prelude::*;

/// Whether the difference is one of the known ones.
fn known_difference(text: &str) -> bool {
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
    let scheme = text.split("://").next().unwrap_or("");
    text.len() > MAX_SPIFFE_ID_BYTES
        || authority.chars().any(|c| c.is_ascii_uppercase())
        || scheme.chars().any(|c| c.is_ascii_uppercase())
}

fn agree(text: &str) {
    let ours = text.parse::<SpiffeId>();
    let theirs = text.parse::<spiffe::SpiffeId>();
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.as_str(), theirs.to_string());
            assert_eq!(ours.path(), theirs.path());
            assert_eq!(ours.trust_domain().as_str(), theirs.trust_domain_name());
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(theirs)) => panic!("we take {text:?}, they refuse it: {theirs}"),
        (Err(ours), Ok(_)) => assert!(known_difference(text), "they take {text:?}, we refuse it: {ours}"),
    }
}

#[test]
fn upper_case_is_folded_by_them_and_refused_by_us() {
    for text in ["SPIFFE://market.example/a", "spiffe://Market.example/a", "Spiffe://MARKET.example"] {
        assert!(text.parse::<spiffe::SpiffeId>().is_ok(), "{text}");
        assert!(text.parse::<SpiffeId>().is_err(), "{text}");
    }
}

#[test]
fn more_than_2048_bytes_are_read_by_them_and_refused_by_us() {
    let text = format!("spiffe://market.example/{}", "a".repeat(3000));
    assert!(text.parse::<spiffe::SpiffeId>().is_ok());
    assert!(text.parse::<SpiffeId>().is_err());
}

#[test]
fn a_whole_id_is_a_trust_domain_to_them_and_none_to_us() {
    assert!("spiffe://market.example/a".parse::<spiffe::TrustDomain>().is_ok());
    assert!("spiffe://market.example/a".parse::<TrustDomain>().is_err());
}

#[test]
fn the_usual_suspects_are_judged_alike() {
    for text in [
        "",
        "spiffe",
        "spiffe:",
        "spiffe:/",
        "spiffe://",
        "spiffe:///",
        "spiffe:///a",
        "spiffe://a",
        "spiffe://a/",
        "spiffe://a//",
        "spiffe://a//b",
        "spiffe://a/./b",
        "spiffe://a/../b",
        "spiffe://a/...",
        "spiffe://a/b/",
        "spiffe://a:1/b",
        "spiffe://a@b/c",
        "spiffe://a%20b/c",
        "spiffe://a/%20",
        "spiffe://a?b",
        "spiffe://a#b",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        " spiffe://a/b",
        "spiffe://a/b ",
        "spiffe://a/b\n",
        "spiffe://ä/b",
        "spiffe://a/ä",
        "https://a/b",
        "spiffe://[::1]/a",
        "spiffe://1.2.3.4/a",
        "spiffe://_/-",
        "spiffe://./..",
        "spiffe://a\0/b",
        "spiffe://a/b\0",
    ] {
        agree(text);
    }
    agree(&format!("spiffe://{}/a", "a".repeat(255)));
    agree(&format!("spiffe://{}/a", "a".repeat(256)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_texts_are_judged_alike(text in any::<String>()) {
        agree(&text);
        agree(&format!("spiffe://{text}"));
        agree(&format!("spiffe://market.example/{text}"));
    }

    #[test]
    fn texts_near_the_grammar_are_judged_alike(text in "(spiffe|SPIFFE)?:?/{0,3}[a-cA-C._:@%?#-]{0,8}(/[a-cA-C.%_-]{0,3}){0,4}") {
        agree(&text);
    }

    #[test]
    fn every_id_of_the_grammar_is_taken_and_comes_back(text in "spiffe://[a-z0-9._-]{1,40}(/[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,10}){0,6}") {
        let id: SpiffeId = text.parse().unwrap();
        prop_assert_eq!(id.as_str(), &text);
        prop_assert_eq!(SpiffeId::new(id.trust_domain(), id.path()).unwrap(), id);
        agree(&text);
    }
}
