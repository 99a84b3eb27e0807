//! The demo's configuration of this service is one, its policy included.

use avouch_service::{Boot, Flags, Launch};
use market_inventory::{Seed, Settings};

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    // Its paths are relative to the repository. This is the only test of its process.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).unwrap();
    let flags = Flags { config: Some("deploy/config/inventory.toml".into()), ..Flags::default() };
    let launch = Launch { flags, ..Launch::default() };
    let boot = Boot::new("inventory", &[&market_api::CONTRACT], &launch).await.unwrap();
    let settings: Settings = boot.settings().unwrap();
    assert!(!Seed::load(&settings.stock).unwrap().articles.is_empty());
}
