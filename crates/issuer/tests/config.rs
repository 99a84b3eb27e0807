//! The demo's configuration of the issuer is one.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::expect_used, reason = "helpers of tests, outside of any test function")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use avouch_issuer::Issuer;
use avouch_issuer::config::{IssuerConfig, IssuerSettings};
use avouch_service::{Boot, Flags, LaunchOptions};
use avouch_testkit::program::alone;

#[tokio::test]
async fn the_demos_configuration_is_read_and_checked() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let config = ["config/issuer.toml", "demo/issuer.toml"].map(|file| deploy.join(file)).to_vec();
    let flags = Flags { config, ..Flags::default() };
    let launch = LaunchOptions { flags, ..LaunchOptions::default() };
    let boot = Boot::new("issuer", &[&avouch_api::CONTRACT], &launch).await.expect("a configuration");
    let config: IssuerConfig = boot.settings().expect("issuer settings");
    assert_eq!(config.trust_domain.as_str(), "market.example");
    assert_eq!(config.data_dir, Path::new("issuer"));
    assert_eq!(config.profiles.as_deref(), Some(Path::new("certs")));
}

/// Exit status and standard error of the issuer with these settings.
fn run(settings: &[String], more: &[&str]) -> (Option<i32>, String) {
    let temp = tempfile::tempdir().expect("a directory");
    let mut command = alone(env!("CARGO_BIN_EXE_avouch-issuer"), temp.path());
    command.args(settings.iter().flat_map(|set| ["--set", set])).args(more);
    let output = command.output().expect("the issuer runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

fn settings(place: &Path) -> Vec<String> {
    vec![
        "issuer.trust_domain=market.example".to_owned(),
        format!("issuer.data_dir={:?}", place.join("data")),
        format!("issuer.admin_socket={:?}", place.join("run/admin.sock")),
    ]
}

#[test]
fn what_check_config_refuses_the_start_refuses_with_the_same_words_and_status() {
    let temp = tempfile::Builder::new().prefix("avi").tempdir().expect("a directory");
    let place = temp.path();
    let file = place.join("file");
    std::fs::write(&file, "").expect("written");
    let open = place.join("open");
    std::fs::create_dir(&open).expect("made");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).expect("opened");
    let good = settings(place);
    assert_eq!(run(&good, &["--check-config"]), (Some(0), String::new()));
    assert!(!place.join("data").exists() && !place.join("run").exists(), "checking makes nothing");
    for (set, said) in [
        ("issuer.retention=59m".to_owned(), "issuer.retention = 59m: must be"),
        ("issuer.retention=9223372036854775807s".to_owned(), "issuer.retention = "),
        ("issuer.recovery_window=-1s".to_owned(), "recovery_window"),
        ("issuer.svid_ttl=4s".to_owned(), "issuer.svid_ttl = 4s: must be"),
        (
            "issuer.rate_limits.authenticated_burst=4294967295".to_owned(),
            "issuer.rate_limits.authenticated_burst = ",
        ),
        ("issuer.rate_limits.authenticated_burst=0".to_owned(), "authenticated_burst"),
        ("issuer.rate_limits.authenticated_burst=nan".to_owned(), "authenticated_burst"),
        ("issuer.trust_domain=Market Example".to_owned(), "trust_domain"),
        ("issuer.profiles=/nowhere/profiles".to_owned(), "/nowhere/profiles/root.toml"),
        (format!("issuer.data_dir={file:?}"), "is not a directory"),
        (format!("issuer.data_dir={open:?}"), "chmod 0700"),
        (format!("issuer.admin_socket={:?}", file.join("admin.sock")), "is not a directory"),
        (format!("issuer.admin_socket=/{}", "a".repeat(200)), "issuer.admin_socket"),
        ("service.address=::1:7000".to_owned(), "write [::1]:7000"),
    ] {
        let mut settings = good.clone();
        settings.push(set.clone());
        let checked = run(&settings, &["--check-config"]);
        assert_eq!(checked.0, Some(64), "{set}: {}", checked.1);
        assert!(checked.1.contains(said), "{set}: {}", checked.1);
        assert_eq!(run(&settings, &[]), checked, "{set}");
    }
}

#[tokio::test]
async fn a_data_directory_of_another_trust_domain_is_refused_before_the_start() {
    let temp = tempfile::Builder::new().prefix("avi").tempdir().expect("a directory");
    let data = temp.path().join("data");
    let text = format!(
        "trust_domain = 'market.example'\ndata_dir = {data:?}\nadmin_socket = {:?}\n",
        temp.path().join("run/admin.sock")
    );
    let settings_of_it: IssuerSettings = toml::from_str(&text).expect("settings");
    let config = IssuerConfig::try_from(settings_of_it).expect("a configuration");
    drop(Issuer::start(&config, avouch_time::clock::system()).await.expect("an issuer"));
    let own = settings(temp.path());
    let (status, said) = run(&own, &["--check-config"]);
    assert_eq!(status, Some(0), "{said}");
    let mut other = own.clone();
    other.push("issuer.trust_domain=other.example".to_owned());
    let checked = run(&other, &["--check-config"]);
    assert_eq!(checked.0, Some(64), "{}", checked.1);
    assert!(checked.1.contains("other.example") && checked.1.contains("root.crt"), "{}", checked.1);
    assert_eq!(run(&other, &[]), checked);
}
