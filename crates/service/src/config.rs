//! Layered configuration: defaults < file < `AVOUCH_SECTION__KEY` < `--set`.
//!
//! Every section is two types: a serde one that mirrors the file and refuses unknown keys, and the checked one the
//! process works with. A process knows its common sections, its `[upstreams.NAME]` and the one section called like the
//! service; any other key stops the start with the nearest known one named.

mod defaults;
mod error;
mod layers;
pub(crate) mod origin;
mod period;
mod redact;
mod sections;
#[cfg(feature = "test-clock")]
mod test_clock;

use std::collections::BTreeMap;

use avouch_identity::IdentityConfig;
use avouch_records::RecordsConfig;
use avouch_telemetry::TelemetryConfig;
use serde::de::DeserializeOwned;

pub use error::{ConfigError, ConfigFault};
pub(crate) use layers::Layers;
pub use period::Period;
pub(crate) use sections::{AuthzConfig, ServiceConfig, UpstreamConfig};

use crate::launch::Launch;

/// The checked configuration of a process.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) service: ServiceConfig,
    pub(crate) health_listen: std::net::SocketAddr,
    pub(crate) identity: Option<IdentityConfig>,
    pub(crate) authz: AuthzConfig,
    pub(crate) records: RecordsConfig,
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) upstreams: BTreeMap<String, UpstreamConfig>,
    layers: Layers,
    name: &'static str,
}

impl Config {
    /// Reads and checks everything but the service's own section.
    pub(crate) fn load(name: &'static str, launch: &Launch) -> Result<Self, ConfigError> {
        let layers = Layers::read(name, launch)?;
        let service: sections::RawService = layers.section("service")?.unwrap_or_default();
        let health: sections::RawHealth = layers.section("health")?.unwrap_or_default();
        let authz: sections::RawAuthz = layers.section("authz")?.unwrap_or_default();
        let records: sections::RawRecords = layers.section("records")?.unwrap_or_default();
        let mut identity: Option<IdentityConfig> = layers.section("identity")?;
        let service = service.check()?;
        advertise(&mut identity, &service);
        Ok(Self {
            service,
            health_listen: health.check()?,
            identity,
            authz: authz.check()?,
            records: records.check()?,
            telemetry: layers.section("telemetry")?.unwrap_or_default(),
            upstreams: layers.upstreams()?,
            layers,
            name,
        })
    }

    /// The service's own section, or an empty one.
    pub(crate) fn own<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        self.layers.section_or_empty(self.name)
    }

    /// All of it as one line of JSON, with what looks like a secret hidden.
    pub(crate) fn redacted(&self) -> String {
        redact::redacted(&self.layers).to_string()
    }
}

/// The address a service advertises is told to the issuer, unless the identity section names its own.
fn advertise(identity: &mut Option<IdentityConfig>, service: &ServiceConfig) {
    if let (Some(IdentityConfig::Issuer(issuer)), Some(address)) = (identity, &service.address)
        && issuer.addresses.is_empty()
    {
        issuer.addresses.push(address.clone());
    }
}

#[cfg(test)]
mod tests;
