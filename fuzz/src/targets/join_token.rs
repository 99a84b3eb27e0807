//! Join tokens: as they are, and as the JSON inside of one. What is taken survives its own string form, and shows its
//! secret to nobody.

use avouch_spiffe::JoinToken;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Outcome;
use crate::oracle::is_workload_id;

pub(super) const WORDS: &[&str] = &[
    "avjt1.",
    "{",
    "}",
    "\"secret\":",
    "\"issuer\":",
    "\"roots\":",
    "[",
    "]",
    ",",
    "\"",
    "null",
    "\\u0000",
    "spiffe://market.example/avouch/issuer",
    "spiffe://market.example",
    "=",
    "_",
    "-",
    "+",
    "/",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "q9VmyT0Yw3mS7pXb-_kLzA",
];

pub(super) fn run(data: &[u8]) -> Outcome {
    judge(&format!("avjt1.{}", URL_SAFE_NO_PAD.encode(data)));
    let Ok(text) = std::str::from_utf8(data) else { return Outcome::Refused };
    // A seed may hold the JSON for people to read; what counts is the whole.
    match text.starts_with('{') {
        true => judge(&format!("avjt1.{}", URL_SAFE_NO_PAD.encode(text.trim_end()))),
        false => judge(text),
    }
}

fn judge(text: &str) -> Outcome {
    let parsed = text.parse::<JoinToken>();
    if let Ok(token) = &parsed {
        let secret = token.secret();
        let alphabet = secret.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
        assert!(alphabet && (16..=256).contains(&secret.len()), "{} octets", secret.len());
        assert!(is_workload_id(token.issuer().as_str()));
        assert!((1..=16).contains(&token.root_pins().len()));
        let other =
            JoinToken::new("z".repeat(secret.len()), token.issuer().clone(), token.root_pins().to_vec());
        assert_eq!(Ok(format!("{token:?}")), other.map(|other| format!("{other:?}")), "shows its secret");
        let encoded = token.encode();
        assert_eq!(encoded.parse::<JoinToken>().as_ref(), Ok(token));
        assert_same_content(text, &encoded);
    }
    Outcome::from(&parsed)
}

/// The JSON inside of both says the same.
fn assert_same_content(one: &str, other: &str) {
    let [one, other] = [one, other].map(|text| {
        let encoded = text.trim_ascii().get(6..).unwrap_or_default();
        let json = URL_SAFE_NO_PAD.decode(encoded).unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(&json).ok()
    });
    assert!(one.is_some());
    assert_eq!(one, other);
}
