//! `upgrade.md` on a host: other programs in the order of the page, the way back, and what the page says of stores.

use crate::pages::section;
use crate::stage::Stage;

const SERVICES: [&str; 6] = ["ledger", "inventory", "payments", "orders", "reports", "storefront"];

#[test]
fn a_host_goes_to_other_programs_and_back() {
    let stage = Stage::with(&SERVICES);
    let processes = || {
        let mut units = vec!["avouch-issuer.service".to_owned()];
        units.extend(SERVICES.iter().map(|name| format!("avouch-market@{name}.service")));
        units.iter().map(|unit| stage.process(unit)).collect::<Vec<_>>()
    };
    stage.run(&section("upgrade.md", "Before", 1)[0]);
    let before = processes();
    let configuration = stage.run("cat /etc/avouch/ledger.toml");
    let upgraded = stage.run(&section("upgrade.md", "On a host", 1)[0]);
    assert_eq!(upgraded.matches("the configuration is good").count(), 7, "{upgraded}");
    assert_eq!(stage.run("cat /etc/avouch/ledger.toml"), configuration, "what is configured stays");
    let between = processes();
    assert!(before.iter().zip(&between).all(|(one, other)| one != other), "all are other processes");

    stage.run(&section("upgrade.md", "On a host: the way back", 1)[0]);
    assert!(between.iter().zip(processes()).all(|(one, other)| *one != other), "all are other processes");
    for name in SERVICES {
        let log = stage.log(&format!("avouch-market@{name}.service"));
        assert_eq!(
            log.matches("\"how\":\"enroll\"").count(),
            1,
            "{name} asks nobody for its identity: {log}"
        );
    }
}
