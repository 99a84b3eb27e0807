//! At the most talkative level of every crate below it, neither the issuer nor a workload writes a secret to its log:
//! no token, no key, no nonce. One process plays both; the tokens and keys are those on its disk.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "issuer/harness.rs"]
#[allow(dead_code, reason = "this test uses its part")]
mod harness;
#[path = "bootstrap/world.rs"]
#[allow(dead_code, reason = "this test uses its part")]
mod world;

use std::path::Path;

use avouch_testkit::log::Log;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use world::World;

/// What a secret looks like in a log: as text, in hexadecimal, in base64, or as a list of numbers.
fn forms(name: &str, secret: &[u8]) -> Vec<(String, String)> {
    let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let numbers = format!("{secret:?}");
    let numbers = numbers.trim_matches(['[', ']']).to_owned();
    let mut forms = vec![
        ("hexadecimal", hex),
        ("numbers", numbers),
        ("base64", STANDARD.encode(secret)),
        ("base64 without padding", STANDARD_NO_PAD.encode(secret)),
        ("base64url", URL_SAFE_NO_PAD.encode(secret)),
    ];
    if let Ok(text) = std::str::from_utf8(secret) {
        forms.push(("text", text.trim().to_owned()));
        forms.push(("a quoted text", text.trim().escape_debug().to_string()));
    }
    forms.into_iter().map(|(form, text)| (format!("{name} as {form}"), text)).collect()
}

/// The private keys of every file below a directory: the scalar itself, so that any encoding around it is found.
fn keys_below(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            keys_below(&entry, found);
            continue;
        }
        if !entry.is_file() {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&entry).expect("a file")).into_owned();
        let Some((_, rest)) = text.split_once("PRIVATE KEY-----") else { continue };
        let body: String = rest.split("-----END").next().unwrap_or_default().split_whitespace().collect();
        let der = STANDARD.decode(body).expect("base64");
        // ECPrivateKey: version 1, then an OCTET STRING of the scalar (RFC 5915).
        let at = der.windows(5).position(|it| it == [2, 1, 1, 4, 0x20]).expect("a P-256 key") + 5;
        found.push((entry.display().to_string(), der.get(at..at + 32).expect("the scalar").to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_trace_level_neither_token_nor_key_nor_evidence_is_in_the_log() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    let mut world = World::start().await;
    world.register("/orders").await;
    let token = world.token("/orders").await;
    world.put_token(&token);
    // Enrolled, renewed, expired and recovered, refused with a used token, refused with a mangled one.
    let identity = world.workload().start().await.expect("an identity");
    let first = identity.snapshot().svid.leaf().serial().to_owned();
    let renewed = world.renewed(&identity, &first).await.leaf().serial().to_owned();
    let mut secrets = Vec::new();
    keys_below(world.directory(), &mut secrets);
    world.stop_issuer().await;
    world.clock.advance(std::time::Duration::from_secs(3600));
    world.start_issuer().await;
    world.renewed(&identity, &renewed).await;
    keys_below(world.directory(), &mut secrets);
    drop(identity);
    world.forget_everything().await;
    world.workload().start().await.expect_err("a used token");
    let mangled = token.replace('1', "2");
    world.put_token(&mangled);
    world.workload().start().await.expect_err("a mangled token");
    assert!(secrets.len() >= 4, "the root's, the authority's and the workload's keys: {}", secrets.len());

    let text = log.text();
    for crates in ["avouch_identity", "avouch_issuer", "h2::"] {
        assert!(text.contains(crates), "nothing of {crates} was logged: the level is wrong");
    }
    let content = URL_SAFE_NO_PAD.decode(token.strip_prefix("avjt1.").expect("a token")).expect("base64");
    let content = String::from_utf8(content).expect("JSON");
    let secret =
        content.split("\"secret\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a secret");
    let mut looked_for = forms("the token's secret", secret.as_bytes());
    looked_for.extend(forms("the token", token.as_bytes()));
    looked_for.extend(forms("the mangled token", mangled.as_bytes()));
    for (file, key) in &secrets {
        looked_for.extend(forms(file, key));
    }
    looked_for.push(("a PEM key".to_owned(), "PRIVATE KEY".to_owned()));
    let found: Vec<_> =
        looked_for.iter().filter(|(_, form)| text.contains(form)).map(|(name, _)| name).collect();
    assert!(found.is_empty(), "in the log: {found:?}");
}
