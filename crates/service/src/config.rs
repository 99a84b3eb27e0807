//! Layered configuration: defaults < files, the later over the earlier < `AVOUCH_SECTION__KEY` < `--set`.
//!
//! Every section is two types: a serde one that mirrors the file and refuses unknown keys, and the checked one the
//! process works with. A process knows its common sections, its `[upstreams.NAME]` and the one section called like the
//! service; any other key stops the start with the nearest known one named.

mod addresses;
mod defaults;
mod error;
mod files;
mod layers;
mod limits;
pub(crate) mod origin;
mod redact;
mod renamed;
mod scalar;
mod sections;
#[cfg(feature = "test-clock")]
mod test_clock;
mod upstreams;

use std::collections::BTreeMap;

use avouch_identity::{FilesConfig, IdentityConfig, IssuerConfig};
use avouch_records::RecordsConfig;
use avouch_spiffe::Bounds;
use avouch_telemetry::TelemetryConfig;
use serde::de::DeserializeOwned;

pub use error::{ConfigError, ConfigFault};
pub(crate) use layers::Layers;
pub use renamed::Renamed;
pub use scalar::{Readable, Scalar};
pub(crate) use sections::{AuthzConfig, ServiceConfig};
pub(crate) use upstreams::UpstreamConfig;

use crate::launch_options::LaunchOptions;

/// The bounds of `[telemetry] sampling_ratio`.
const SAMPLING_RATIO: Bounds<f64> = Bounds::new(0.0, 1.0, "it is the share of new traces that are recorded");

/// The checked configuration of a process: everything but the service's own section, which [`Config::settings`] reads.
#[derive(Debug)]
pub struct Config {
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
    pub(crate) fn load(name: &'static str, launch: &LaunchOptions) -> Result<Self, ConfigError> {
        let layers = Layers::read(name, launch)?;
        renamed::refuse(&layers, renamed::COMMON)?;
        let service: sections::RawService = layers.section("service")?.unwrap_or_default();
        let health: sections::RawHealth = layers.section("health")?.unwrap_or_default();
        let authz: sections::RawAuthz = layers.section("authz")?.unwrap_or_default();
        let records: sections::RawRecords = layers.section("records")?.unwrap_or_default();
        let service = service.check()?;
        let health_listen = health.check()?;
        if !crate::socket_activation::is_activated(&launch.env) {
            addresses::apart(("health.listen", health_listen), ("service.listen", service.listen))?;
        }
        let mut identity = identity(&layers)?;
        advertise(&mut identity, &service);
        let upstreams = upstreams::read(&layers)?;
        upstreams::check_trust_domains(identity.as_ref(), &upstreams)?;
        within(&layers, "telemetry", "sampling_ratio", &SAMPLING_RATIO)?;
        Ok(Self {
            service,
            health_listen,
            identity,
            authz: authz.check()?,
            records: records.check()?,
            telemetry: layers.section("telemetry")?.unwrap_or_default(),
            upstreams,
            layers,
            name,
        })
    }

    /// The service's own section, `[name]`; an absent one counts as empty.
    ///
    /// # Errors
    /// When it cannot be read as a `T`, unknown keys included if `T` denies them.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        self.layers.section_or_empty(self.name)
    }

    /// Refuses the old names of keys that the service has renamed in its own section; to be called before
    /// [`Config::settings`], which would call them unknown.
    ///
    /// # Errors
    /// When one is there, with its new name.
    pub fn refuse_renamed(&self, renamed: &[Renamed]) -> Result<(), ConfigError> {
        Ok(renamed::refuse(&self.layers, renamed)?)
    }

    /// Refuses a configuration without `[upstreams.NAME]`, as [`App::channel`](crate::App::channel) would.
    ///
    /// # Errors
    /// When there is no such section.
    pub fn needs_upstream(&self, name: &str) -> Result<(), ConfigError> {
        self.upstream(name).map(|_| ())
    }

    /// A listener of the service's own, beside those of every process: an IP address and a port that none of them has.
    ///
    /// # Errors
    /// When it is none, or the port of `[service] listen` or `[health] listen`.
    pub fn listener(&self, key: &str, text: &str) -> Result<std::net::SocketAddr, ConfigError> {
        let address = addresses::listen(key, Some(text))?;
        addresses::apart((key, address), ("service.listen", self.service.listen))?;
        addresses::apart((key, address), ("health.listen", self.health_listen))?;
        Ok(address)
    }

    /// A file that the service writes into a directory that has to be there.
    ///
    /// # Errors
    /// When it is a directory, or has none.
    pub fn writable_file(&self, key: &str, path: &std::path::Path) -> Result<(), ConfigError> {
        Ok(files::writable_file(key, path)?)
    }

    /// A file that the service makes together with the directories above it, as a database.
    ///
    /// # Errors
    /// When it is a directory, or a part of its path is a file.
    pub fn file_to_make(&self, key: &str, path: &std::path::Path) -> Result<(), ConfigError> {
        Ok(files::file_to_make(key, path)?)
    }

    pub(crate) fn upstream(&self, name: &str) -> Result<&UpstreamConfig, ConfigError> {
        let missing = || ConfigFault::MissingSection(format!("upstreams.{name}")).into();
        self.upstreams.get(name).ok_or_else(missing)
    }

    /// Refuses a configuration without `[identity]`, as the start would.
    pub(crate) fn needs_identity(&self) -> Result<(), ConfigError> {
        self.identity.as_ref().map(|_| ()).ok_or_else(no_identity)
    }

    /// Where the identity comes from; asked for once.
    pub(crate) fn take_identity(&mut self) -> Result<IdentityConfig, ConfigError> {
        self.identity.take().ok_or_else(no_identity)
    }

    /// All of it as one line of JSON, with what looks like a secret hidden.
    pub(crate) fn redacted(&self) -> String {
        redact::redacted(&self.layers).to_string()
    }
}

fn no_identity() -> ConfigError {
    ConfigFault::MissingSection("identity".to_owned()).into()
}

/// Where the identity comes from, if the configuration says so.
fn identity(layers: &Layers) -> Result<Option<IdentityConfig>, ConfigFault> {
    // Before the section is deserialized, whose error for an invalid duration would not name the key.
    within(layers, "identity", "timeout", &IssuerConfig::TIMEOUT)?;
    within(layers, "identity", "poll_interval", &FilesConfig::POLL_INTERVAL)?;
    let identity = layers.identity()?;
    if let Some(identity) = &identity {
        identity.check().map_err(ConfigFault::Identity)?;
    }
    Ok(identity)
}

fn within<T: Readable>(
    layers: &Layers,
    section: &str,
    key: &str,
    bounds: &Bounds<T>,
) -> Result<(), ConfigFault> {
    match layers.scalar(section, key) {
        Some(given) => given.within(&format!("{section}.{key}"), bounds).map(|_| ()),
        None => Ok(()),
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
mod addresses_tests;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod tests;
