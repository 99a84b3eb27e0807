//! `backup.md` on a host: everybody goes on, and what the page says has to be done again has to be.

use crate::pages::section;
use crate::stage::Stage;

const LATE: &str = "spiffe://market.example/inventory";

#[test]
fn a_lost_issuer_comes_back_with_its_root_and_its_entries() {
    let stage = Stage::with(&["ledger"]);
    let bundle = stage.run("avouch bundle show --json");
    let serial = || {
        let held = stage.run("avouch cert list --json --id spiffe://market.example/ledger");
        let held: serde_json::Value = serde_json::from_str(&held).unwrap();
        held[0]["serial"].as_str().unwrap().to_owned()
    };
    let held = serial();

    let copied = stage.run(&section("backup.md", "On a host", 1)[0]);
    for file in ["root.crt", "root.key", "signing.pem", "store.db"] {
        assert!(copied.contains(&format!("avouch-issuer/{file}\n")), "{file} is not in the backup: {copied}");
    }
    // The page says that whoever has it is the issuer: nobody but its owner may reach it.
    let folder = stage.run("stat -c %a /var/backups/avouch");
    assert_eq!(folder.trim(), "700");

    // Who comes after the backup: its entry is lost with the time since.
    let token = "/etc/avouch/tokens/inventory";
    stage.run(&format!(
        "avouch token create {LATE} --register --svid-ttl 20s --out {token}
        systemctl enable --now avouch-market@inventory.service"
    ));
    let restored = stage.run(&section("backup.md", "On a host: restore", 1)[0]);
    assert!(restored.contains("spiffe://market.example/ledger") && !restored.contains(LATE), "{restored}");
    assert_eq!(stage.run("avouch bundle show --json"), bundle);
    assert_eq!(serial(), held);
    // It is served as before, without joining again.
    stage.run("systemctl restart avouch-market@ledger.service");
    let log = stage.log("avouch-market@ledger.service");
    assert_eq!(log.matches("\"how\":\"enroll\"").count(), 1, "{log}");

    stage.until(
        "journalctl -u avouch-issuer.service -o cat -g 'certificate refused' | grep NO_MATCHING_ENTRY",
    );
    stage.run(&format!("avouch entry add {LATE} --ttl 20s"));
    let taken = "a certificate is taken that the restored store does not know";
    stage.until(&format!("journalctl -u avouch-issuer.service -o cat -g '{taken}'"));
    stage.until("journalctl -u avouch-market@inventory.service -o cat -g '\"how\":\"re'");
    let log = stage.log("avouch-market@inventory.service");
    assert_eq!(log.matches("\"how\":\"enroll\"").count(), 1, "no token is needed: {log}");
}

/// The last point of the page.
#[test]
fn a_second_issuer_on_the_same_directory_is_refused() {
    let stage = Stage::with(&[]);
    let second = stage.run(
        "! timeout 20 avouch-issuer --config /usr/local/share/avouch/issuer.toml --config /etc/avouch/issuer.toml \
         --set service.listen=127.0.0.1:0 --set health.listen=127.0.0.1:0 --set issuer.admin_socket=/run/avouch-issuer/other.sock 2>&1",
    );
    assert!(second.contains("another process uses"), "{second}");
}
