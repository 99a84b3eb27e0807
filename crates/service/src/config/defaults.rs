//! The defaults of the common sections, read from the checked form of an empty configuration.

use std::time::Duration;

use avouch_identity::IdentityConfig;
use avouch_records::RecordsConfig;
use avouch_time::ConfigDuration;
use serde_json::Value;

use super::Config;
use super::error::ConfigError;
use super::layers::Layers;
use super::sections::RawRecords;
use crate::launch_options::LaunchOptions;

/// Keys and values that hold where no layer names the key. Of a service's own section only the service knows them.
pub(super) fn of(name: &'static str, layers: &Layers) -> Result<Vec<(String, Value)>, ConfigError> {
    let empty = Config::load(name, &LaunchOptions::default())?;
    let service = &empty.service;
    let mut all = vec![
        ("service.listen".to_owned(), text(service.listen)),
        ("service.drain_timeout".to_owned(), time(service.drain_timeout)),
        ("service.admit_federated".to_owned(), service.admit_federated.into()),
        ("health.listen".to_owned(), text(empty.health_listen)),
        ("authz.watch_interval".to_owned(), time(empty.authz.watch_interval)),
        ("records.keep".to_owned(), empty.records.keep.into()),
    ];
    let options = &service.options;
    let limits = [
        ("max_handshakes", options.max_handshakes.into()),
        ("max_handshake_rate", options.max_handshake_rate.into()),
        ("max_connections", options.max_connections.into()),
        ("max_calls", options.max_calls.into()),
        ("max_streams", options.max_streams.into()),
        ("max_buffered_bytes", options.max_buffered_bytes.into()),
        ("request_timeout", time(options.request_timeout)),
        ("max_unauthenticated_connections", options.max_unauthenticated_connections.into()),
        ("unauthenticated_connection_age", time(options.unauthenticated_connection_age)),
        ("handshake_timeout", time(options.handshake_timeout)),
        ("max_concurrent_streams", options.max_concurrent_streams.into()),
        ("max_header_list_size", options.max_header_list_size.into()),
        ("max_cancelled_calls", options.max_cancelled_calls.into()),
        ("max_connection_age", time(options.max_connection_age)),
        ("max_chain_depth", options.chain.max_depth.into()),
        ("max_certificate_bytes", options.chain.max_certificate_bytes.into()),
    ];
    all.extend(limits.map(|(key, value)| (format!("service.limits.{key}"), value)));
    if let Ok(telemetry) = serde_json::to_value(&empty.telemetry) {
        let set = flat(&telemetry).into_iter().filter(|(_, value)| !value.is_null());
        all.extend(set.map(|(key, value)| (format!("telemetry.{key}"), value)));
    }
    // Some keys have defaults only where others are set; a wrong section is reported by the check.
    if let Ok(Some(records)) = layers.section::<RawRecords>("records")
        && let Ok(RecordsConfig { file: Some(file), .. }) = records.check()
    {
        let decisions = if file.allowed { "all" } else { "refused" };
        all.push(("records.rotate_bytes".to_owned(), file.rotate_bytes.into()));
        all.push(("records.rotate_keep".to_owned(), file.rotate_keep.into()));
        all.push(("records.decisions".to_owned(), decisions.into()));
    }
    match layers.identity() {
        Ok(Some(IdentityConfig::Issuer(issuer))) => {
            all.push(("identity.timeout".to_owned(), time(issuer.timeout)));
        }
        Ok(Some(IdentityConfig::Files(files))) => {
            all.push(("identity.poll_interval".to_owned(), time(files.poll_interval)));
        }
        _ => {}
    }
    Ok(all)
}

fn text(value: impl ToString) -> Value {
    value.to_string().into()
}

fn time(value: Duration) -> Value {
    text(ConfigDuration(value))
}

/// Every value that is no table, by its whole key.
pub(super) fn flat(tree: &Value) -> Vec<(String, Value)> {
    fn walk(key: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(entries) => {
                for (name, value) in entries {
                    let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    walk(&key, value, found);
                }
            }
            value => found.push((key.to_owned(), value.clone())),
        }
    }
    let mut found = Vec::new();
    walk("", tree, &mut found);
    found
}
