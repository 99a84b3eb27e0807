//! The demo's configuration of this service is one, its policy included.

use avouch_service::{Boot, Flags, Launch};
use market_storefront::Settings;

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    // Its paths are relative to the repository. This is the only test of its process.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).unwrap();
    let flags = Flags { config: Some("deploy/config/storefront.toml".into()), ..Flags::default() };
    let launch = Launch { flags, ..Launch::default() };
    let boot = Boot::new("storefront", &[&market_api::CONTRACT], &launch).await.unwrap();
    let settings = Settings::of(boot.config(), market_storefront::Flags::default()).unwrap();
    assert!(settings.orders_file.unwrap().is_file());
}
