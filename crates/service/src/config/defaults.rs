//! The defaults of the common sections, as the code has them: what an empty configuration is checked into.

use std::time::Duration;

use avouch_identity::IdentityConfig;
use avouch_records::RecordsConfig;
use serde_json::Value;

use super::error::ConfigError;
use super::layers::Layers;
use super::origin::flat;
use super::sections::RawRecords;
use super::{Config, Period};
use crate::launch::Launch;

/// Keys and values that hold where no layer names the key. Of a service's own section only the service knows them.
pub(super) fn of(name: &'static str, layers: &Layers) -> Result<Vec<(String, Value)>, ConfigError> {
    let empty = Config::load(name, &Launch::default())?;
    let service = &empty.service;
    let mut all = vec![
        ("service.listen".to_owned(), text(service.listen)),
        ("service.drain_timeout".to_owned(), time(service.drain_timeout)),
        ("service.federated".to_owned(), service.federated.into()),
        ("health.listen".to_owned(), text(empty.health_listen)),
        ("authz.watch_interval".to_owned(), time(empty.authz.watch_interval)),
        ("records.keep".to_owned(), empty.records.keep.into()),
    ];
    let options = &service.options;
    let limits = [
        ("max_handshakes", options.max_handshakes.into()),
        ("max_handshake_rate", options.max_handshake_rate.into()),
        ("max_connections", options.max_connections.into()),
        ("max_unauthenticated_connections", options.max_unauthenticated_connections.into()),
        ("unauthenticated_connection_age", time(options.unauthenticated_connection_age)),
        ("handshake_timeout", time(options.handshake_timeout)),
        ("max_concurrent_streams", options.max_concurrent_streams.into()),
        ("max_header_list_size", options.max_header_list_size.into()),
        ("max_abandoned_calls", options.max_abandoned_calls.into()),
        ("max_connection_age", time(options.max_connection_age)),
        ("max_chain_depth", options.chain.max_depth.into()),
        ("max_certificate_bytes", options.chain.max_certificate_bytes.into()),
    ];
    all.extend(limits.map(|(key, value)| (format!("service.limits.{key}"), value)));
    if let Ok(telemetry) = serde_json::to_value(&empty.telemetry) {
        let set = flat(&telemetry).into_iter().filter(|(_, value)| !value.is_null());
        all.extend(set.map(|(key, value)| (format!("telemetry.{key}"), value)));
    }
    // Some keys have defaults only where others are there; a wrong section is for the check to say.
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
            all.push(("identity.timeout_ms".to_owned(), issuer.timeout_ms.into()));
        }
        Ok(Some(IdentityConfig::Files(files))) => {
            all.push(("identity.poll_ms".to_owned(), files.poll_ms.into()))
        }
        _ => {}
    }
    Ok(all)
}

fn text(value: impl ToString) -> Value {
    value.to_string().into()
}

fn time(value: Duration) -> Value {
    text(Period(value))
}
