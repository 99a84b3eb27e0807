//! The demo's configuration of the issuer is one.
#![allow(missing_docs, reason = "tests")]

use avouch_issuer::config::IssuerConfig;
use avouch_service::{Boot, Flags, Launch};

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/issuer.toml");
    let flags = Flags { config: Some(file.into()), ..Flags::default() };
    let launch = Launch { flags, ..Launch::default() };
    let boot = Boot::new("issuer", &[&avouch_api::CONTRACT], &launch).await.expect("a configuration");
    let config: IssuerConfig = boot.settings().expect("issuer settings");
    assert_eq!(config.trust_domain.as_str(), "market.example");
    assert!(config.data_dir.starts_with("target/demo"));
}
