//! The demo's configuration of this service is one, its policy included.

use std::process::Command;

use avouch_service::{Boot, Flags, LaunchOptions};
use market_orders::Settings;

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    // Its paths are relative to the repository. No other test of this process has relative ones.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).unwrap();
    let config = ["deploy/config/orders.toml", "deploy/demo/services.toml"].map(Into::into).to_vec();
    let flags = Flags { config, ..Flags::default() };
    let launch = LaunchOptions { flags, ..LaunchOptions::default() };
    let boot = Boot::new("orders", &[&market_api::CONTRACT], &launch).await.unwrap();
    let settings: Settings = boot.settings().unwrap();
    assert_eq!(settings.database.to_str(), Some("orders.db"));
}

#[test]
fn what_check_config_refuses_the_start_refuses_with_the_same_words_and_status() {
    let temp = tempfile::tempdir().unwrap();
    let config = temp.path().join("orders.toml");
    let database = temp.path().join("orders.db");
    let text = format!(
        "[identity]\nsource = 'issuer'\naddress = 'issuer:7000'\n\
         [upstreams.inventory]\nurl = 'https://inventory:7002'\nid = 'spiffe://market.example/inventory'\n\
         [upstreams.payments]\nurl = 'https://payments:7003'\nid = 'spiffe://market.example/payments'\n\
         [orders]\ndatabase = {database:?}\n"
    );
    std::fs::write(&config, &text).unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_market-orders"));
        let output = command.arg("--config").arg(&config).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&["--check-config"]), (Some(0), String::new()));
    let directory = format!("orders.database={:?}", temp.path());
    for (set, said) in [
        ("orders.timeout=9223372036854775807", "orders.timeout = 9223372036854775807: must be"),
        ("orders.timeout=-1", "orders.timeout = -1: must be"),
        ("orders.timeot=1", "did you mean `timeout`?"),
        (&directory, "orders.database = "),
    ] {
        let checked = run(&["--set", set, "--check-config"]);
        assert_eq!(checked.0, Some(64), "{set}: {}", checked.1);
        assert!(checked.1.contains(said), "{set}: {}", checked.1);
        assert_eq!(run(&["--set", set]), checked, "{set}");
    }
    let without = text.replace("[upstreams.payments]", "[upstreams.payment]");
    std::fs::write(&config, without).unwrap();
    let checked = run(&["--check-config"]);
    assert!(checked.0 == Some(64) && checked.1.contains("no section [upstreams.payments]"), "{}", checked.1);
    assert_eq!(run(&[]), checked);
}
