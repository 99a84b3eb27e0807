//! `runbooks.md`: each situation is brought about, looked at, mended and seen to be over, by the commands of its section.

use std::io::Write as _;
use std::net::TcpStream;

use crate::pages::section;
use crate::stage::Stage;

const SERVICES: [&str; 6] = ["ledger", "inventory", "payments", "orders", "reports", "storefront"];

fn change_policy(stage: &Stage, change: impl FnOnce(String) -> String) {
    let path = stage.host.path("/etc/avouch/policy.toml");
    let before = std::fs::read_to_string(&path).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after);
    std::fs::write(path, after).unwrap();
}

/// How many certificates a workload got by a join token.
fn joined(stage: &Stage, name: &str) -> usize {
    stage.log(&format!("avouch-market@{name}.service")).matches("\"how\":\"enroll\"").count()
}

#[test]
fn denied() {
    let stage = Stage::with(&["ledger", "reports"]);
    let blocks = section("runbooks.md", "denied", 5);

    let reader = "ledger-reader = [\"spiffe://market.example/reports\"]";
    change_policy(&stage, |policy| policy.replace(reader, "ledger-reader = []"));
    stage.run(
        "systemctl reload avouch-market@ledger.service\nsystemctl restart avouch-market@reports.service",
    );
    TcpStream::connect(stage.socket("127.0.0.1:7001")).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let stolen =
        "avouch token create spiffe://market.example/inventory --register --out /etc/avouch/tokens/inventory
        systemctl enable --now avouch-market@inventory.service
        systemctl stop avouch-market@inventory.service
        rm -r /var/lib/avouch-market/inventory/identity
        ! AVOUCH_IDENTITY__JOIN_TOKEN_FILE=/etc/avouch/tokens/inventory timeout 20 \
            market-inventory --config /usr/local/share/avouch/inventory.toml --config /etc/avouch/inventory.toml --set service.listen=127.0.0.1:0";
    stage.run(stolen);

    let journal = stage.until(&blocks[1]);
    let tapped = stage.run(&blocks[0]);
    for shown in [&tapped, &journal] {
        for reason in ["ROLE_MISSING", "NOT_TLS", "JOIN_TOKEN_ALREADY_USED"] {
            assert!(shown.contains(reason), "{reason} is not in {shown}");
        }
    }
    let denied = tapped.lines().find(|line| line.contains("ROLE_MISSING")).unwrap();
    let decision = denied.split(['[', ' ']).find(|word| word.starts_with("d-")).unwrap();
    let explained = stage.run(&format!("avouch explain {decision}"));
    let place = stage.host.path("/etc/avouch/policy.toml").display().to_string();
    for part in ["spiffe://market.example/reports", "ledger-reader", &place] {
        assert!(explained.contains(part), "{part} is not in {explained}");
    }
    let held = stage.run(&blocks[2]);
    assert!(held.contains("ledger-reader = []"), "{held}");
    change_policy(&stage, |policy| policy.replace("ledger-reader = []", reader));
    let mended = stage.run(&blocks[3]);
    assert!(mended.contains("the configuration is good"), "{mended}");
    let allowed = blocks[4].replace("grep avouch_decisions_total", "grep 'avouch_decisions_total.*allow'");
    stage.until(&allowed);
    let over = stage.run(&blocks[4]);
    assert!(over.contains("verdict=\"deny\"") && over.contains("verdict=\"allow\""), "{over}");
}

#[test]
fn not_renewing() {
    let stage = Stage::with(&["ledger"]);
    let blocks = section("runbooks.md", "not-renewing", 3);
    let shown = stage.run(&blocks[0]);
    for part in [
        "√ AV-202",
        "avouch_svid_not_after_timestamp_seconds",
        "SVID in use",
        "spiffe://market.example/ledger",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    stage.run("avouch entry rm spiffe://market.example/ledger");
    stage.run(&blocks[1]);
    let over = stage.run(&blocks[2]);
    assert!(over.contains("ready\n") && over.contains("enroll"), "{over}");
    assert_eq!(joined(&stage, "ledger"), 2);
}

#[test]
fn rotate() {
    let stage = Stage::with(&SERVICES);
    let blocks = section("runbooks.md", "rotate", 3);
    let before = stage.run(&blocks[0]);
    for part in ["√ AV-103", "√ AV-301", "authority=\"root\"", "authority=\"signing\"", "sha256"] {
        assert!(before.contains(part), "{part} is not in {before}");
    }
    let file = stage.host.path("/var/lib/avouch-issuer/signing.pem");
    let old = std::fs::read_to_string(&file).unwrap();
    let bundle = stage.run("avouch bundle show --json");
    stage.run(&blocks[1]);
    assert_ne!(std::fs::read_to_string(&file).unwrap(), old);
    assert_eq!(stage.run("avouch bundle show --json"), bundle, "the root is the same");
    // By a certificate of the new authority and one of the old, they go on with each other.
    stage.run(
        "avouch token create spiffe://market.example/ledger --out /etc/avouch/tokens/ledger
        rm -r /var/lib/avouch-market/ledger/identity
        systemctl restart avouch-market@ledger.service",
    );
    stage.until("curl -s http://127.0.0.1:7101/metrics | grep 'avouch_decisions_total.*allow'");
    let sequences = stage.until(&blocks[2]);
    let numbers: Vec<_> = sequences
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' ').map(|(_, number)| number))
        .collect();
    assert_eq!(numbers.len(), 6, "{sequences}");
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{sequences}");
}

#[test]
fn compromised() {
    let stage = Stage::with(&["ledger", "payments"]);
    let blocks = section("runbooks.md", "compromised", 5);
    let shown = stage.run(&blocks[0]);
    assert!(shown.contains("enroll"), "{shown}");
    // A thief's copy, made while nobody knows of it.
    let stolen = stage.host.path("/var/lib/avouch-market/payments/identity/svid.pem");
    let stolen = std::fs::read_to_string(stolen).unwrap();

    let hit = stage.run(&blocks[1]);
    assert!(hit.contains("spiffe://market.example/payments"), "{hit}");
    let none = stage.run("avouch revocations");
    assert!(!none.contains("payments"), "a dry run changes nothing: {none}");
    let revoked = stage.run(&blocks[2]);
    for part in ["spiffe://market.example/payments", "the host was broken into", "revocation.create"] {
        assert!(revoked.contains(part), "{part} is not in {revoked}");
    }
    is_refused(&stage, &stolen, "IDENTITY_REVOKED");

    let mended = stage.run(&blocks[3]);
    assert!(mended.contains("serial:"), "{mended}");
    assert_eq!(joined(&stage, "payments"), 2);
    stage.until("curl -sf http://127.0.0.1:7103/readyz");
    is_refused(&stage, &stolen, "CERT_REVOKED");
    let over = stage.run(&blocks[4]);
    assert!(over.contains("enroll") && over.contains("serial:"), "{over}");
}

/// A copy of an identity is of no use at the ledger.
fn is_refused(stage: &Stage, svid: &str, reason: &str) {
    let copy = stage.host.path("/var/backups").join("stolen.pem");
    std::fs::write(&copy, svid).unwrap();
    let (_, said) = stage.attempt(&format!(
        "openssl s_client -connect 127.0.0.1:7001 -cert {0} -cert_chain {0} -key {0} -alpn h2 </dev/null",
        copy.display()
    ));
    std::fs::remove_file(copy).unwrap();
    let log = stage.log("avouch-market@ledger.service");
    assert!(log.contains(reason), "{reason}: {said}\n{log}");
}

#[test]
fn issuer_lost() {
    let stage = Stage::with(&SERVICES);
    let blocks = section("runbooks.md", "issuer-lost", 3);
    let shown = stage.run(&blocks[0]);
    for part in ["√ AV-102", "√ AV-701", "the configuration is good"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(shown.ends_with("ready\n"), "{shown}");
    let bundle = stage.run("avouch bundle show --json");
    stage.run(&blocks[1]);
    assert_ne!(stage.run("avouch bundle show --json"), bundle, "it has another root");
    let over = stage.run(&blocks[2]);
    assert_eq!(over.lines().filter(|line| *line == "ready").count(), 7, "{over}");
    assert!(over.contains("√ AV-501  every workload answers (6)"), "{over}");
    for name in SERVICES {
        assert!(over.contains(&format!("spiffe://market.example/{name} ")), "{over}");
        assert_eq!(joined(&stage, name), 2, "{name}");
    }
    stage.until("curl -s http://127.0.0.1:7101/metrics | grep 'avouch_decisions_total.*allow'");
}
