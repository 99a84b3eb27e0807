//! `install-host.md`, from the build to the last service's leaving.

use crate::pages::section;
use crate::stage::Stage;

#[test]
fn a_host_is_installed_started_and_left_by_its_page() {
    let stage = Stage::new();
    section("README.md", "Operations", 1).iter().for_each(|block| drop(stage.run(block)));

    let blocks = section("install-host.md", "Build and install", 2);
    stage.run(&blocks[0]);
    let checked = stage.run(&blocks[1]);
    assert_eq!(checked.matches("the configuration is good").count(), 2, "{checked}");

    for block in section("install-host.md", "Start", 2) {
        stage.run(&block);
    }
    let left = std::fs::read_dir(stage.host.path("/etc/avouch/tokens")).unwrap().count();
    assert_eq!(left, 0, "used tokens are left");

    let seen = section("install-host.md", "See that it works", 1).remove(0);
    // Services call each other as soon as they run.
    stage.until("avouch edges");
    let seen = stage.run(&seen);
    assert!(seen.contains("\nready\n"), "{seen}");
    assert!(seen.contains("√ AV-501  every workload answers (6)"), "{seen}");
    assert!(seen.contains("market.ledger.v1.Ledger/Tail"), "reports follows the ledger: {seen}");
    for name in ["ledger", "inventory", "payments", "orders", "reports", "storefront"] {
        assert!(seen.contains(&format!("avouch-market@{name}.service: status")), "{seen}");
        assert!(seen.contains(&format!("spiffe://market.example/{name} ")), "{seen}");
    }

    stage.run(&section("install-host.md", "Take it away", 1)[0]);
    let entries = stage.run("avouch entry list");
    assert!(!entries.contains("storefront") && entries.contains("orders"), "{entries}");
}
