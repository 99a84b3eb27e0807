//! The demo's configuration of this service is one, its policy included.

use avouch_service::{Boot, Flags, LaunchOptions};
use market_storefront::Settings;

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    // Its paths are relative to the repository. This is the only test of its process.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).unwrap();
    let config = ["deploy/config/storefront.toml", "deploy/demo/services.toml"].map(Into::into).to_vec();
    let flags = Flags { config, ..Flags::default() };
    // As the demo says it, too.
    let env = [("AVOUCH_STOREFRONT__ORDERS_FILE".to_owned(), "deploy/demo/orders.jsonl".to_owned())].into();
    let launch = LaunchOptions { flags, env };
    let boot = Boot::new("storefront", &[&market_api::CONTRACT], &launch).await.unwrap();
    let settings = Settings::of(boot.config(), market_storefront::Flags::default()).unwrap();
    assert!(settings.orders_file.unwrap().is_file());
}
