//! `check` and `explain` as a shell sees them, on dumps: what they print, how they exit, what they take.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]

use avouch_testkit::program::alone;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;

const ORDERS: &str = "spiffe://market.example/orders";
const LEDGER: &str = "spiffe://market.example/ledger";
const REPORTS: &str = "spiffe://market.example/reports";
const POST: &str = "/market.ledger.v1.Ledger/Post";
const NOW: &str = "2026-11-25T12:00:00.000Z";

fn status(id: &str) -> Value {
    json!({
        "now": NOW, "spiffe_id": id, "phase": "serving", "trust_stream": "up",
        "svid": { "not_before": "2026-11-25T11:45:00Z", "not_after": "2026-11-25T12:45:00Z", "key_matches": true },
        "policy": { "version": "0123456789ab", "tests": 1 },
        "health_listen": "127.0.0.1:7101",
    })
}

/// The issuer and the ledger, which has refused a call and a connection.
fn fleet() -> Value {
    let authority = |days: &str| {
        json!({ "subject": "CN=authority", "fingerprint": "bb", "key_id": "aa",
        "not_before": "2026-11-01T00:00:00Z", "not_after": days })
    };
    let mut issuer = status("spiffe://market.example/avouch/issuer");
    issuer["bundle"] = json!({ "trust_domain": "market.example", "sequence": 7,
        "roots": [authority("2036-01-01T00:00:00Z")] });
    json!({ "format": 1, "fleet": {
        "taken_at": "2026-11-25T12:00:00Z", "trust_domain": "market.example",
        "operator": "spiffe://market.example/operator",
        "issuer": { "process": issuer, "signing": [authority("2027-01-30T00:00:00Z")], "entries": 3 },
    } })
}

fn ledger() -> Value {
    let method = |path: &str, role: &str| json!({ "path": path, "roles": [role] });
    json!({
        "workload": { "spiffe_id": LEDGER, "addresses": ["127.0.0.1:7001"] },
        "address": "127.0.0.1:7001",
        "status": status(LEDGER),
        "policy": {
            "current": { "source": "policy.toml", "version": "0123456789ab", "since": NOW,
                "text": "[roles]\nledger-writer = [\"spiffe://market.example/payments\"]\n" },
            "methods": [method(POST, "ledger-writer")],
        },
        "records": [
            { "decision": { "id": "d-0011223344556677", "time": NOW, "peer": REPORTS, "method": POST,
                "verdict": "refused", "reason": "ROLE_MISSING", "need": ["ledger-writer"],
                "policy_version": "0123456789ab" } },
            { "connection": { "id": "conn-0011223344556677", "time": NOW, "peer_address": "10.0.0.7:41234",
                "verdict": "refused", "reason": "CERT_EXPIRED", "peer_id": ORDERS } },
        ],
    })
}

/// Writes a dump, as `avouch dump` lays one out.
fn dump(directory: &Path, members: &[Value]) -> PathBuf {
    let path = directory.join("dump.tgz");
    let file = std::fs::File::create(&path).unwrap();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    let mut add = |name: String, value: &Value| {
        let text = serde_json::to_vec(value).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, text.as_slice()).unwrap();
    };
    add("fleet.json".to_owned(), &fleet());
    for (place, member) in members.iter().enumerate() {
        add(format!("members/{place:04}.json"), member);
    }
    archive.into_inner().unwrap().finish().unwrap();
    path
}

/// Runs `avouch` with a clean environment.
fn avouch(words: &[&str]) -> Output {
    let temp = tempfile::tempdir().unwrap();
    let mut command = alone(env!("CARGO_BIN_EXE_avouch"), temp.path());
    command.env("COLUMNS", "200").args(words).output().unwrap()
}

fn on(dump: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = avouch(&[words, &["--from", dump.to_str().unwrap()]].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_dump_in_good_order_exits_with_0_and_a_broken_one_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let good = dump(directory.path(), &[ledger()]);
    let (code, text, error) = on(&good, &["check"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(text.contains("√ AV-101  the issuer answers") && text.contains("0 ×, 0 ‼"), "{text}");
    assert!(!text.contains('\x1b'), "colours in a pipe: {text:?}");

    let mut silent = ledger();
    silent["status"] = Value::Null;
    silent["problem"] = json!("connection refused");
    let broken = dump(directory.path(), &[ledger(), silent]);
    let (code, text, _) = on(&broken, &["check"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("× AV-501") && text.contains("avouch explain AV-501"), "{text}");
    assert_eq!(on(&broken, &["check", "--only", "policy", "--only", "AV-101"]).0, Some(0));
    let (code, text, _) = on(&broken, &["check", "--json", "--only", "transport"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["ok"], &json["counts"]["bad"]), (Some(1), &json!(false), &json!(1)), "{text}");
}

#[test]
fn a_decision_a_connection_and_a_client_are_found_in_a_dump() {
    let directory = tempfile::tempdir().unwrap();
    let dump = dump(directory.path(), &[ledger()]);
    let (code, text, _) = on(&dump, &["explain", "d-0011223344556677"]);
    assert_eq!(code, Some(0), "{text}");
    let line = format!("ledger-writer = [\"spiffe://market.example/payments\", \"{REPORTS}\"]");
    assert!(text.starts_with(&format!("DENIED {REPORTS} → {LEDGER} {POST}\n")), "{text}");
    assert!(text.contains(&line) && text.contains("nobody else may call more than before"), "{text}");
    for words in [
        &["explain", "conn-0011223344556677"][..],
        &["explain", "10.0.0.7:41234"],
        &["explain", "10.0.0.7:41234", "--at", "1795608000"],
        &["explain", "--connection", "10.0.0.7:41234,1795608000"],
    ] {
        let (code, text, error) = on(&dump, words);
        assert_eq!(code, Some(0), "{words:?} {text} {error}");
        assert!(text.starts_with("REFUSED 10.0.0.7:41234"), "{text}");
    }
    let (_, text, _) = on(&dump, &["explain", "d-0011223344556677", "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["remedy"]["tried"]["allowed"], true);
}

#[test]
fn what_nobody_has_exits_with_1_and_says_who_was_asked() {
    let directory = tempfile::tempdir().unwrap();
    let dump = dump(directory.path(), &[ledger()]);
    let (code, text, error) = on(&dump, &["explain", "d-ffffffffffffffff"]);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(error.contains("nobody who answered has a record of d-ffffffffffffffff"), "{error}");
    assert!(error.contains(LEDGER) && error.contains("avouch tap --denied --follow"), "{error}");
    let (code, text, error) = on(&dump, &["explain", "d-ffffffffffffffff", "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["found"], error.as_str()), (Some(1), &json!(false), ""));
}

#[test]
fn checks_and_reasons_are_explained_without_anybody_to_ask() {
    let output = avouch(&["explain", "AV-202"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.starts_with("AV-202 (identity): "), "{text}");
    let output = avouch(&["explain", "CERT_EXPIRED", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["kind"], &json["reason"]), (&json!("reason"), &json!("CERT_EXPIRED")));
}

#[test]
fn without_an_issuer_its_absence_is_the_root_cause_of_everything() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let output = avouch(&["check", "--socket", socket.to_str().unwrap(), "--wait", "1s"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("× AV-101") && text.contains("because of AV-101 not shown:"), "{text}");
    assert_eq!(text.matches('×').count(), 2, "another failure beside the root cause: {text}");
}

#[test]
fn wrong_usage_exits_with_2() {
    for words in [
        &["check", "--only", "nonsense"][..],
        &["check", "--wait", "5"],
        &["check", "--wait", "5s", "--from", "dump.tgz"],
        &["explain"],
        &["explain", "nonsense"],
        &["explain", "AV-999"],
        &["explain", "AV-101", "--connection", "10.0.0.7:1"],
        &["explain", "10.0.0.7:1", "--at", "noon"],
    ] {
        assert_eq!(avouch(words).status.code(), Some(2), "{words:?}");
    }
}
