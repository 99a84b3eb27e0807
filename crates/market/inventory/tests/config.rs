//! The demo's configuration of this service is one, its policy included.

use avouch_service::{Boot, Flags, LaunchOptions};
use market_inventory::{Seed, Settings};

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    // Its paths are relative to the repository. This is the only test of its process.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).unwrap();
    let config = ["deploy/config/inventory.toml", "deploy/demo/services.toml"].map(Into::into).to_vec();
    let flags = Flags { config, ..Flags::default() };
    // As the demo says it, too.
    let env = [("AVOUCH_INVENTORY__STOCK".to_owned(), "deploy/demo/stock.toml".to_owned())].into();
    let launch = LaunchOptions { flags, env };
    let boot = Boot::new("inventory", &[&market_api::CONTRACT], &launch).await.unwrap();
    let settings: Settings = boot.settings().unwrap();
    assert!(!Seed::load(&settings.stock).unwrap().articles.is_empty());
}
