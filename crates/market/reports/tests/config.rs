//! The demo's configuration of this service is one, its policy included.

use avouch_service::{Boot, Flags, LaunchOptions};
use market_reports::Settings;

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    // Its paths are relative to the repository. This is the only test of its process.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).unwrap();
    let config = ["deploy/config/reports.toml", "deploy/demo/services.toml"].map(Into::into).to_vec();
    let flags = Flags { config, ..Flags::default() };
    let launch = LaunchOptions { flags, ..LaunchOptions::default() };
    let boot = Boot::new("reports", &[&market_api::CONTRACT], &launch).await.unwrap();
    let settings: Settings = boot.settings().unwrap();
    assert_eq!(settings.database.to_str(), Some("reports.db"));
}
