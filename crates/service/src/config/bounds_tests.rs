//! No number of the configuration is without bounds: every key there is, as its own type lists them, with every odd value.

use avouch_records::Recorder;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::tests::load;
use super::*;

/// Values that no number and no duration may be.
const TOO_MUCH: &[&str] = &[
    "-1",
    "-9223372036854775808",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999999",
    "1e300",
    "-1e300",
    "1.5000001",
    "nan",
    "inf",
    "-inf",
    "\"9223372036854775807s\"",
    "\"18446744073709551615ms\"",
    "\"-1s\"",
    "\"1e3\"",
];

/// Values that some may be.
const ODD: &[&str] =
    &["0", "1", "4294967295", "4294967296", "\"0s\"", "\"1ms\"", "\"1s\"", "true", "''", "[]", "{}"];

/// Keys that are texts or paths, where every value is one.
const TEXTS: &[&str] = &[
    "authz.policy",
    "identity.bundle",
    "identity.certificate",
    "identity.join_token_file",
    "identity.key",
    "identity.state_dir",
    "records.file",
    "service.address_file",
    "telemetry.log",
    "telemetry.otlp_endpoint",
];

const FILES: &str = "[identity]\nsource = 'files'\ncertificate = '/no/c'\nkey = '/no/k'\nbundle = '/no/b'\n";
const ISSUER: &str = "[identity]\nsource = 'issuer'\naddress = 'issuer:7000'\n";
const UPSTREAM: &str = "[upstreams.a]\nurl = 'https://a:1'\nid = 'spiffe://market.example/a'\n";

/// The keys that a section's type knows, from what serde says to one that it does not know.
fn keys<T: DeserializeOwned>(section: &str) -> Vec<String> {
    let said = toml::from_str::<T>("zzz = 1\n").err().expect("zzz is no key").to_string();
    let (_, known) = said.split_once("unknown field `zzz`").unwrap_or_else(|| panic!("{section}: {said}"));
    let found: Vec<String> =
        known.split('`').skip(1).step_by(2).map(|key| format!("{section}.{key}")).collect();
    assert!(!found.is_empty(), "{section}: {said}");
    found
}

/// Every key, and what has to stand beside it.
fn all_keys() -> Vec<(String, &'static str)> {
    let with = |base: &'static str| move |key: String| (key, base);
    let mut all: Vec<(String, &'static str)> = Vec::new();
    all.extend(keys::<sections::RawService>("service").into_iter().map(with("")));
    all.extend(keys::<limits::RawLimits>("service.limits").into_iter().map(with("")));
    all.extend(keys::<sections::RawHealth>("health").into_iter().map(with("")));
    all.extend(keys::<sections::RawAuthz>("authz").into_iter().map(with("")));
    all.extend(keys::<sections::RawRecords>("records").into_iter().map(with("")));
    all.extend(keys::<TelemetryConfig>("telemetry").into_iter().map(with("")));
    all.extend(keys::<FilesConfig>("identity").into_iter().map(with(FILES)));
    all.extend(keys::<IssuerConfig>("identity").into_iter().map(with(ISSUER)));
    all.extend(keys::<upstreams::RawUpstream>("upstreams.a").into_iter().map(with(UPSTREAM)));
    all
}

/// What the numbers are for, made with them: each of these panics with a number it cannot take.
fn starts(config: &Config) {
    let options = &config.service.options;
    assert_ne!(Semaphore::new(options.max_connections).available_permits(), 0);
    assert!(options.max_calls > 0 && options.max_streams > 0 && options.max_buffered_bytes > 0);
    let mut times = vec![
        options.handshake_timeout,
        options.request_timeout,
        options.max_connection_age.mul_f64(1.1),
        options.unauthenticated_connection_age,
        options.retirement_grace,
        config.service.drain_timeout,
        config.authz.watch_interval,
    ];
    times.extend(config.upstreams.values().filter_map(|upstream| upstream.timeout));
    match &config.identity {
        Some(IdentityConfig::Files(files)) => times.push(files.poll_interval),
        Some(IdentityConfig::Issuer(issuer)) => times.push(issuer.timeout),
        None => {}
    }
    for time in times {
        let _ = (Instant::now() + time, config.service.clock.now() + time);
    }
    drop(tokio::time::interval(config.authz.watch_interval));
    let methods = avouch_authz::Methods::new(&[avouch_records::contract()]).unwrap();
    let records = RecordsConfig { file: None, ..config.records.clone() };
    Recorder::builder(records, methods).start().unwrap().finish();
}

#[tokio::test]
async fn every_number_has_bounds_and_what_is_within_them_starts() {
    let keys = all_keys();
    assert!(keys.len() >= 40, "{keys:?}");
    for (key, base) in &keys {
        for value in TOO_MUCH.iter().chain(ODD) {
            let outcome = load(base, &[], &[&format!("{key}={value}")]);
            judge(key, value, TOO_MUCH.contains(value), outcome);
        }
        // The environment's layer reads numbers in its own way.
        let variable = format!("AVOUCH_{}", key.to_uppercase().replace('.', "__"));
        for value in TOO_MUCH {
            judge(key, value, true, load(base, &[(&variable, value)], &[]));
        }
    }
}

fn judge(key: &str, value: &str, too_much: bool, outcome: Result<Config, ConfigError>) {
    match outcome {
        Ok(config) => {
            assert!(!too_much || TEXTS.contains(&key), "{key} = {value} is accepted: it has no bounds");
            starts(&config);
        }
        Err(error) => {
            let said = error.fault.to_string();
            let name = key.rsplit('.').next().unwrap_or(key);
            assert!(said.contains(name), "{key} = {value} is refused without its name: {said}");
        }
    }
}

#[test]
fn a_number_out_of_bounds_is_refused_with_key_value_range_and_reason_from_every_layer() {
    let wrong = "service.limits.max_connections = 9223372036854775807: must be a whole number from 1 to 1048576; with \
                 0 no connection is accepted, and Linux gives a process no more descriptors";
    let said = |outcome: Result<Config, ConfigError>| outcome.unwrap_err().fault.to_string();
    let number = "9223372036854775807";
    assert_eq!(said(load(&format!("[service.limits]\nmax_connections = {number}\n"), &[], &[])), wrong);
    assert_eq!(said(load("", &[], &[&format!("service.limits.max_connections={number}")])), wrong);
    assert_eq!(said(load("", &[("AVOUCH_SERVICE__LIMITS__MAX_CONNECTIONS", number)], &[])), wrong);
}

#[test]
fn the_bounds_themselves_are_accepted_and_one_beyond_is_not() {
    for (key, least, most) in [
        ("service.limits.max_connections", 1_u64, 1 << 20),
        ("service.limits.max_calls", 1, 1 << 24),
        ("service.limits.max_streams", 1, 1 << 24),
        ("service.limits.max_buffered_bytes", 1 << 20, 1 << 40),
        ("service.limits.max_handshakes", 1, 1 << 20),
        ("service.limits.max_handshake_rate", 1, 1_000_000),
        ("service.limits.max_concurrent_streams", 1, 1 << 16),
        ("service.limits.max_header_list_size", 1 << 10, 1 << 20),
        ("service.limits.max_chain_depth", 1, 16),
        ("service.limits.max_certificate_bytes", 256, 64 * 1024),
        ("records.keep", 1, 16_384),
        ("records.rotate_bytes", 65_536, 1 << 40),
    ] {
        let with = |value: u64| load(FILES, &[], &[&format!("{key}={value}")]);
        assert!(with(least).is_ok() && with(most).is_ok(), "{key}");
        assert!(with(least - 1).is_err() && with(most + 1).is_err(), "{key}");
    }
    let with = |value: &str| load(FILES, &[], &[&format!("identity.poll_interval={value}")]);
    assert!(with("10ms").is_ok() && with("3600000ms").is_ok());
    assert!(with("9ms").is_err() && with("3600001ms").is_err());
}
