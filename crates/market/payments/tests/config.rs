//! The demo's configuration of this service is one, its policy included.

use avouch_service::{Boot, Flags, LaunchOptions};
use market_payments::{Limits, Settings};

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    // Its paths are relative to the repository. This is the only test of its process.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).unwrap();
    let config = ["deploy/config/payments.toml", "deploy/demo/services.toml"].map(Into::into).to_vec();
    let flags = Flags { config, ..Flags::default() };
    let launch = LaunchOptions { flags, ..LaunchOptions::default() };
    let boot = Boot::new("payments", &[&market_api::CONTRACT], &launch).await.unwrap();
    let settings: Settings = boot.settings().unwrap();
    let limits = Limits::try_from(&settings).unwrap();
    let eur = |customer: &str| limits.of(&customer.parse().unwrap(), market_api::money::Currency::Eur);
    assert_eq!((eur("cust-0001"), eur("cust-0900"), eur("cust-0901")), (500_000, 0, 10_000));
}
