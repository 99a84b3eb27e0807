//! Texts of strangers on their way to a terminal: dumps, archives, certificates, policies, paths, arguments. Nothing that
//! is printed holds a character that a terminal obeys rather than shows, and no stranger begins a line.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their helpers")]

use avouch_testkit::program::alone;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// Clears the screen, sets the title, colours (in both encodings), rings, turns the direction, hides, begins a line.
const POISON: &str =
    "p\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{202e}\u{200b}\u{8}\t\r\nspoofed: 0 ×\u{2028}\u{e0041}\u{85}q";

const NOW: &str = "2026-11-25T12:00:00.000Z";
const LEDGER: &str = "spiffe://market.example/ledger";
const POST: &str = "/market.ledger.v1.Ledger/Post";

/// A fleet with something of every kind in it.
fn fleet() -> (Value, Value) {
    let dates = json!({ "not_before": "2026-11-25T11:45:00Z", "not_after": "2026-11-25T12:45:00Z" });
    let authority = json!({ "subject": "CN=authority", "fingerprint": "bb", "key_id": "aa",
        "not_before": "2026-11-01T00:00:00Z", "not_after": "2026-11-26T00:00:00Z" });
    let status = |id: &str| {
        json!({
            "now": NOW, "spiffe_id": id, "service": "ledger", "phase": "serving", "trust_stream": "up",
            "svid": { "serial": "0a", "not_before": dates["not_before"], "not_after": dates["not_after"],
                "key_matches": true, "issuer": "CN=authority" },
            "policy": { "version": "0123456789ab", "tests": 1, "source": "policy.toml", "problem": "broken" },
            "upstreams": [{ "name": "bank", "url": "https://127.0.0.1:7009", "spiffe_id": "spiffe://a.example/b" }],
            "records": { "capacity": 100, "dropped": 3 },
            "health_listen": "127.0.0.1:7101", "listen": "127.0.0.1:7001", "build": "1",
            "bundle": { "trust_domain": "market.example", "sequence": 7, "roots": [authority] },
        })
    };
    let member = json!({
        "workload": { "spiffe_id": LEDGER, "addresses": ["127.0.0.1:7001"], "seen_at": NOW },
        "address": "127.0.0.1:7001",
        "status": status(LEDGER),
        "policy": {
            "current": { "source": "policy.toml", "version": "0123456789ab", "since": NOW,
                "text": "[roles]\nledger-writer = [\"spiffe://market.example/payments\"]\n" },
            "methods": [{ "path": POST, "roles": ["ledger-writer"] }],
        },
        "edges": [{ "peer_id": "spiffe://market.example/a", "method": POST, "allowed": 3, "refused": 1,
            "since": NOW, "last_at": NOW, "tls_version": "TLSv1_3", "group": "X25519",
            "peer_not_after": dates["not_after"] }],
        "records": [
            { "decision": { "id": "d-0011223344556677", "time": NOW, "peer": "spiffe://market.example/a",
                "method": POST, "verdict": "refused", "reason": "ROLE_MISSING", "need": ["ledger-writer"],
                "have": ["reader"], "policy_version": "0123456789ab", "place": "policy.toml:2", "detail": "no",
                "connection_id": "conn-0011223344556677", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                "suppressed": 2 } },
            { "connection": { "id": "conn-0011223344556677", "time": NOW, "peer_address": "10.0.0.7:41234",
                "local_address": "127.0.0.1:7001", "verdict": "refused", "reason": "CERT_EXPIRED", "detail": "old",
                "peer_id": "spiffe://market.example/a", "peer_serial": "0a", "peer_subject": "CN=a",
                "peer_issuer": "CN=authority", "tls_version": "TLSv1_3", "cipher": "TLS13_AES_128_GCM_SHA256",
                "group": "X25519", "suppressed": 2 } },
            { "connection": { "id": "conn-0011223344556688", "time": NOW, "peer_address": "10.0.0.8:41234",
                "verdict": "accepted", "peer_id": "spiffe://market.example/a", "tls_version": "TLSv1_3",
                "group": "X25519", "ended_at": NOW, "end_reason": "HANDSHAKE_TIMEOUT", "end_detail": "late" } },
        ],
    });
    let head = json!({
        "taken_at": NOW, "trust_domain": "market.example", "operator": "spiffe://market.example/operator",
        "operator_problem": "no identity", "issuer_problem": "slow",
        "issuer": { "process": status("spiffe://market.example/avouch/issuer"), "signing": [authority],
            "entries": 3, "addresses": ["127.0.0.1:7000"] },
        "issuer_records": member["records"],
        "entries": [{ "spiffe_id": LEDGER, "dns_names": ["localhost"], "created_at": NOW }],
        "certificates": [{ "serial": "0a", "spiffe_id": LEDGER, "not_before": NOW, "not_after": NOW,
            "origin": "enroll", "last_seen": NOW }],
    });
    (head, member)
}

/// Every string with poison behind it, but those of fields that are named in `spared`.
fn poisoned(value: &Value, spared: &[&str]) -> Value {
    match value {
        Value::String(text) => format!("{text}{POISON}").into(),
        Value::Array(all) => all.iter().map(|one| poisoned(one, spared)).collect(),
        Value::Object(fields) => {
            let each = fields.iter().map(|(name, value)| {
                let kept = spared.contains(&name.as_str());
                (name.clone(), if kept { value.clone() } else { poisoned(value, spared) })
            });
            Value::Object(each.collect())
        }
        other => other.clone(),
    }
}

/// A gzipped tar archive, in whose every header a stranger had a say.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let zipped = flate2::GzBuilder::new()
        .filename(POISON.as_bytes())
        .comment(POISON.as_bytes())
        .write(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(zipped);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_username(POISON.trim_end_matches('q')).unwrap_or_default();
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// A dump whose path is as hostile as its content, with the fields of `spared` as they should be.
fn dump(directory: &Path, spared: &[&str]) -> PathBuf {
    let (head, member) = fleet();
    let head = json!({ "format": 1, "fleet": poisoned(&head, spared) }).to_string();
    let silent = json!({ "workload": { "spiffe_id": POISON }, "address": POISON, "problem": POISON, "reason": POISON });
    let path = directory.join(format!("{POISON}.tgz"));
    let files = [
        (POISON, &b"x"[..]),
        ("fleet.json", head.as_bytes()),
        ("members/0000.json", &serde_json::to_vec(&poisoned(&member, spared)).unwrap()),
        ("members/0001.json", &serde_json::to_vec(&silent).unwrap()),
    ];
    std::fs::write(&path, archive(&files)).unwrap();
    path
}

fn run(directory: &Path, words: &[&OsStr], input: &[u8]) -> Output {
    let mut command = alone(env!("CARGO_BIN_EXE_avouch"), directory);
    command.env("COLUMNS", "200").current_dir(directory).args(words);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    use std::io::Write as _;
    let _ = child.stdin.take().unwrap().write_all(input); // some do not read it
    child.wait_with_output().unwrap()
}

/// Runs, looks at every character that is printed, and returns how much that was.
fn harmless(directory: &Path, words: &[&OsStr], input: &[u8]) -> usize {
    let output = run(directory, words, input);
    assert!(output.status.code().is_some(), "{words:?} died: {output:?}");
    for printed in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(printed).unwrap();
        let odd = text.chars().find(|c| *c != '\n' && !avouch_text::is_printable(*c));
        assert_eq!(odd, None, "{words:?}: {text:?}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("spoofed")), "{words:?}: {text}");
    }
    output.stdout.len() + output.stderr.len()
}

fn os(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[test]
fn no_reader_of_a_dump_lets_its_texts_steer_the_terminal() {
    let ids =
        ["id", "time", "taken_at", "now", "verdict", "reason", "trace_id", "connection_id", "peer_address"];
    let names =
        [&ids[..], &["spiffe_id", "peer", "peer_id", "path", "method", "trust_domain", "operator"]].concat();
    let policy = [&names[..], &["text", "roles", "service"]].concat();
    for spared in [&[][..], &ids, &names, &policy] {
        let directory = tempfile::tempdir().unwrap();
        let dump = dump(directory.path(), spared);
        let mut printed = 0;
        for words in [
            &["check"][..],
            &["check", "--json"],
            &["explain", "d-0011223344556677"],
            &["explain", "d-0011223344556677", "--json"],
            &["explain", "d-ffffffffffffffff"],
            &["explain", "d-ffffffffffffffff", "--json"],
            &["explain", "conn-0011223344556677"],
            &["explain", "conn-0011223344556688", "--json"],
            &["explain", "10.0.0.7:41234"],
            &["edges", "--all"],
            &["edges", "--json"],
            &["tap"],
            &["tap", "--json"],
            &["tap", "--format", "alb"],
            &["tap", "--about", POISON],
            &["whois", LEDGER],
            &["whois", "0a", "--json"],
            &["whois", "10.0.0.7"],
            &["whois", POISON],
            &["dump", "again.tgz"],
            &["dump", "again.tgz", "--json"],
            &["policy", "can-i", "anonymous", POST],
            &["policy", "can-i", "anonymous", POST, "--json"],
            &["policy", "can-i", "anonymous", POISON],
            &["policy", "check", POISON],
            &["policy", "check", POISON, "--service", POISON],
        ] {
            let mut words = os(words);
            words.extend([OsString::from("--from"), dump.clone().into_os_string()]);
            let words: Vec<_> = words.iter().map(OsString::as_os_str).collect();
            printed += harmless(directory.path(), &words, b"");
        }
        assert!(printed > 10_000, "the readers have nothing to say: {printed} octets");
    }
}

#[test]
fn json_of_a_dump_means_what_was_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let dump = dump(directory.path(), &["id", "time", "verdict"]);
    let words = [OsStr::new("tap"), OsStr::new("--json"), OsStr::new("--from"), dump.as_os_str()];
    let output = run(directory.path(), &words, b"");
    let lines = String::from_utf8(output.stdout).unwrap();
    let decision = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let decision =
        decision.filter_map(|record| record["decision"]["detail"].as_str().map(str::to_owned)).next();
    assert_eq!(decision.as_deref(), Some(format!("no{POISON}").as_str()));
}

/// What libraries say of an archive quotes it.
#[test]
fn what_libraries_say_of_a_broken_archive_is_made_harmless_and_cut() {
    let directory = tempfile::tempdir().unwrap();
    let long = format!("{POISON}{}", "x".repeat(1 << 20));
    let head = |value: Value| archive(&[("fleet.json", value.to_string().as_bytes())]);
    let mut lying = archive(&[]);
    {
        let mut header = tar::Header::new_gnu();
        let name = POISON.as_bytes();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[124..136].copy_from_slice(b"\x1b[2J\x1b[2J\x1b[2J");
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut zipped, header.as_bytes()).unwrap();
        lying.clear();
        lying.extend(zipped.finish().unwrap());
    }
    let cases = [
        head(json!({ "format": long })),
        head(json!({ "format": 1, "fleet": { "trust_domain": [long] } })),
        head(json!({ "format": 1, "fleet": long })),
        archive(&[("fleet.json", POISON.as_bytes())]),
        archive(&[("fleet.json", b"{\"format\":1,\"fleet\":{}}"), ("members/0.json", POISON.as_bytes())]),
        lying,
        POISON.as_bytes().to_vec(),
        [b"\x1f\x8b\x08\x18\0\0\0\0\0\0".as_slice(), POISON.as_bytes()].concat(),
    ];
    for (number, content) in cases.iter().enumerate() {
        let path = directory.path().join(format!("{number}{POISON}.tgz"));
        std::fs::write(&path, content).unwrap();
        for command in ["check", "edges", "tap", "dump"] {
            let words = [OsStr::new(command), OsStr::new("--from"), path.as_os_str()];
            let printed = harmless(directory.path(), &words, b"");
            assert!((1..4_000).contains(&printed), "{command} of {number}: {printed} octets");
        }
    }
}

/// A certificate and a request in which everything that its owner chooses is poison.
fn certificate(directory: &Path) {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, POISON);
    params.subject_alt_names = vec![
        rcgen::SanType::URI(
            format!("spiffe://market.example/{}", POISON.replace(|c: char| !c.is_ascii(), ""))
                .try_into()
                .unwrap(),
        ),
        rcgen::SanType::DnsName("a\u{1b}[2J\r\nspoofed".try_into().unwrap()),
    ];
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    std::fs::write(directory.join(POISON), format!("{POISON}\n{pem}{pem}")).unwrap();
    std::fs::write(directory.join("request"), params.serialize_request(&key).unwrap().pem().unwrap())
        .unwrap();
    std::fs::write(directory.join("damaged"), pem.replacen("\nMII", &format!("\n{POISON}"), 1)).unwrap();
    let bundle = json!({ "keys": [{ "use": "x509-svid", "kty": POISON, "kid": POISON, "x5c": [POISON] }],
        "spiffe_sequence": POISON });
    std::fs::write(directory.join("bundle"), bundle.to_string()).unwrap();
}

#[test]
fn certificates_requests_and_bundles_do_not_steer_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path());
    for words in [
        &["cert", "inspect", POISON][..],
        &["cert", "inspect", POISON, "--json"],
        &["cert", "inspect", POISON, "--bundle", POISON],
        &["cert", "inspect", POISON, "--bundle", "bundle"],
        &["cert", "inspect", "request"],
        &["cert", "inspect", "request", "--json"],
        &["cert", "inspect", "damaged"],
        &["cert", "inspect", "bundle"],
        &["cert", "inspect", "-"],
        &["cert", "lint", POISON, "damaged"],
        &["cert", "lint", POISON, "bundle"],
        &["cert", "lint", POISON, "--json"],
        &["cert", "convert", POISON, "--to", "der"],
        &["cert", "convert", POISON, "--to", "pem", "--key", POISON, "--out", "x"],
        &["cert", "convert", POISON, "--to", "pem", "--out", POISON],
        &["cert", "needs-renewal", "request"],
        &["cert", "needs-renewal", "damaged"],
        &["cert", "needs-renewal", "none\u{1b}[2J"],
        &["handshake", "127.0.0.1:1", "--identity", POISON],
        &["handshake", "127.0.0.1:1", "--bundle", POISON],
        &["check", "--identity", "none\u{1b}[2J\nspoofed", "--workload", "127.0.0.1:1=spiffe://a.example/b"],
        &["token", "create", LEDGER, "--out", "none/\u{1b}[2J\nspoofed"],
        &["config", "show", "none\u{1b}[2J\nspoofed"],
    ] {
        let words = os(words);
        let words: Vec<_> = words.iter().map(OsString::as_os_str).collect();
        assert!(harmless(directory.path(), &words, POISON.as_bytes()) > 0, "{words:?} says nothing");
    }
}

#[test]
fn policies_and_protos_do_not_steer_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let protos = directory.path().join(format!("protos{POISON}"));
    std::fs::create_dir(&protos).unwrap();
    std::fs::write(protos.join(format!("{POISON}.proto")), format!("syntax = \"{POISON}\";\n{POISON}"))
        .unwrap();
    for (name, text) in [
        ("syntax", format!("[roles\n{POISON} = 1\n")),
        (
            "unknown",
            format!(
                "\"{}\" = 1\n",
                POISON.escape_unicode().to_string().replace("\\u{", "\\U").replace('}', "")
            ),
        ),
        ("role", "[roles]\n\"r\\u001b[2J\" = [\"spiffe://a.example/\\u001b[2J\\nspoofed\"]\n".to_owned()),
        (POISON, format!("# {POISON}\n[roles]\nnobody = [\"{}\"]\n", "spiffe://a.example/\u{202e}")),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let dump = dump(directory.path(), &["path", "roles"]);
    for name in ["syntax", "unknown", "role", POISON] {
        for command in [&["check"][..], &["check", "--json"], &["test"], &["matrix"], &["diff", name]] {
            for api in [
                ("--from", dump.as_os_str()),
                ("--proto", protos.as_os_str()),
                ("--descriptors", OsStr::new(name)),
            ] {
                let mut words = os(&["policy"]);
                words.extend(os(command));
                words.push(name.into());
                words.extend([OsString::from(api.0), api.1.to_owned()]);
                let words: Vec<_> = words.iter().map(OsString::as_os_str).collect();
                harmless(directory.path(), &words, b"");
            }
        }
    }
}

#[test]
fn arguments_and_the_environment_do_not_steer_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    for words in [
        &[POISON][..],
        &["--color\u{1b}[2J"],
        &["check", POISON],
        &["check", "--only", POISON],
        &["check", "--wait", POISON],
        &["check", "--workload", POISON],
        &["check", "--as", POISON],
        &["explain", POISON],
        &["explain", "--connection", POISON],
        &["entry", "add", POISON],
        &["entry", "show", LEDGER, "--socket", POISON],
        &["handshake", POISON],
        &["cert", "convert", "x", "--to", POISON],
        &["cert", "needs-renewal", "x", "--within", POISON],
        &["cert", "inspect", POISON],
        &["completions", POISON],
    ] {
        let words = os(words);
        let words: Vec<_> = words.iter().map(OsString::as_os_str).collect();
        assert!(harmless(directory.path(), &words, b"") > 0, "{words:?} says nothing");
    }
    // Not even text.
    let raw = OsString::from_vec(b"\x9b2J\xff\x1b[2J".to_vec());
    for words in [
        &[raw.as_os_str()][..],
        &[OsStr::new("cert"), OsStr::new("inspect"), &raw],
        &[OsStr::new("tap"), OsStr::new("--from"), &raw],
    ] {
        assert!(harmless(directory.path(), words, b"") > 0, "{words:?} says nothing");
    }
    let mut help = alone(env!("CARGO_BIN_EXE_avouch"), directory.path());
    help.env("AVOUCH_IDENTITY", POISON).env("AVOUCH_ADMIN_SOCKET", OsStr::from_bytes(b"\x1b[2J\xff"));
    let text = String::from_utf8(help.args(["check", "--help"]).output().unwrap().stdout).unwrap();
    assert!(text.contains("AVOUCH_IDENTITY=p"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || avouch_text::is_printable(c)), "{text:?}");
}

/// The program that is asked for its configuration says what is in files and variables.
#[test]
fn what_another_program_says_of_its_configuration_passes_the_filter() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    let script = format!("#!/bin/sh\nprintf '%s\\n' '{POISON}'\nprintf '%s\\n' '{POISON}' >&2\nexit 64\n");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    for words in [&["config", "show"][..], &["--json", "config", "show"]] {
        let words: Vec<_> = words.iter().map(OsStr::new).chain([program.as_os_str()]).collect();
        let output = run(directory.path(), &words, b"");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        for printed in [output.stdout, output.stderr] {
            let text = String::from_utf8(printed).unwrap();
            assert!(text.contains("spoofed"), "{text:?}");
            assert!(text.chars().all(|c| c == '\n' || avouch_text::is_printable(c)), "{text:?}");
        }
    }
}
