//! The common sections: as written, and as checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use avouch_identity::ServerOptions;
use avouch_records::{FileConfig, RecordsConfig};
use avouch_spiffe::Bounds;
use avouch_time::clock::SharedClock;
use serde::Deserialize;

use super::addresses::{advertised, listen};
use super::error::ConfigFault;
use super::files::writable_file;
use super::limits::RawLimits;
use super::scalar::{Readable, Scalar};

/// The bounds of `[authz] watch_interval`.
const WATCH_INTERVAL: Bounds<Duration> = Bounds::new(
    Duration::from_millis(50),
    Duration::from_secs(24 * 3600),
    "the file is read each time, and a change that takes effect after a day is not noticed",
);

/// The bounds of `[service] clock_offset_seconds`.
#[cfg(feature = "test-clock")]
const CLOCK_OFFSET: Bounds<i64> = Bounds::new(
    -3_153_600_000,
    3_153_600_000,
    "it is seconds, and a hundred years show every error there is",
);

/// Defaults of a record file.
pub(super) const ROTATE_BYTES: u64 = 16 * 1024 * 1024;
pub(super) const ROTATE_KEEP: u32 = 4;

/// The value of `key`, or its default where there is none.
fn or<T: Readable>(
    given: Option<Scalar>,
    default: T,
    key: &str,
    bounds: &Bounds<T>,
) -> Result<T, ConfigFault> {
    given.map_or(Ok(default), |given| given.within(key, bounds))
}

/// `[service]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawService {
    /// Where to listen for mutual TLS; default `127.0.0.1:0`.
    listen: Option<String>,
    /// `host:port` under which others reach this process, as told to the issuer.
    address: Option<String>,
    /// File to write the bound addresses to, as JSON, once they are bound.
    address_file: Option<PathBuf>,
    /// How long calls may go on after a signal to stop; default 10 s.
    drain_timeout: Option<Scalar>,
    /// Admit the identities of every trusted domain rather than of the own one only; the policy decides the rest.
    admit_federated: Option<Scalar>,
    /// Seconds by which this process's clock is wrong. For tests of clock skew; ordinary builds refuse the key.
    #[cfg(feature = "test-clock")]
    clock_offset_seconds: Option<Scalar>,
    /// Limits of the listener.
    limits: RawLimits,
}

/// `[service]` as checked.
#[derive(Debug, Clone)]
pub(crate) struct ServiceConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) address: Option<String>,
    pub(crate) address_file: Option<PathBuf>,
    pub(crate) drain_timeout: Duration,
    pub(crate) admit_federated: bool,
    pub(crate) clock: SharedClock,
    pub(crate) options: ServerOptions,
}

impl RawService {
    pub(super) fn check(self) -> Result<ServiceConfig, ConfigFault> {
        let mut options = self.limits.check()?;
        let clock = self.clock()?;
        let drain_timeout = or(
            self.drain_timeout,
            options.retirement_grace,
            "service.drain_timeout",
            &ServerOptions::RETIREMENT_GRACE,
        )?;
        options.retirement_grace = drain_timeout;
        if let Some(address) = &self.address {
            advertised("service.address", address)?;
        }
        if let Some(path) = &self.address_file {
            writable_file("service.address_file", path)?;
        }
        Ok(ServiceConfig {
            listen: listen("service.listen", self.listen.as_deref())?,
            address: self.address,
            address_file: self.address_file,
            drain_timeout,
            admit_federated: self
                .admit_federated
                .map_or(Ok(false), |given| given.flag("service.admit_federated"))?,
            clock,
            options,
        })
    }

    #[cfg(not(feature = "test-clock"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with the feature both are needed")]
    fn clock(&self) -> Result<SharedClock, ConfigFault> {
        Ok(avouch_time::clock::system())
    }

    #[cfg(feature = "test-clock")]
    fn clock(&self) -> Result<SharedClock, ConfigFault> {
        let given = self.clock_offset_seconds.clone();
        let offset_seconds = or(given, 0, "service.clock_offset_seconds", &CLOCK_OFFSET)?;
        Ok(std::sync::Arc::new(super::test_clock::WrongClock { offset_seconds }))
    }
}

/// `[health]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHealth {
    /// Where the plain health and metrics port listens; default `127.0.0.1:0`. It answers anybody who reaches it.
    listen: Option<String>,
}

impl RawHealth {
    pub(super) fn check(&self) -> Result<SocketAddr, ConfigFault> {
        listen("health.listen", self.listen.as_deref())
    }
}

/// `[authz]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAuthz {
    /// The policy file. Without one nobody holds a role.
    policy: Option<PathBuf>,
    /// How often the policy file is polled; default 250 ms. A change takes effect when it has been the same for 2 s,
    /// or, after a rename, one poll later; until then the file is polled every 250 ms at least.
    watch_interval: Option<Scalar>,
}

/// `[authz]` as checked.
#[derive(Debug, Clone)]
pub(crate) struct AuthzConfig {
    pub(crate) policy: Option<PathBuf>,
    pub(crate) watch_interval: Duration,
}

impl RawAuthz {
    pub(super) fn check(self) -> Result<AuthzConfig, ConfigFault> {
        let key = "authz.watch_interval";
        let watch_interval = or(self.watch_interval, Duration::from_millis(250), key, &WATCH_INTERVAL)?;
        Ok(AuthzConfig { policy: self.policy, watch_interval })
    }
}

/// `[records]` as written: which records of connections and calls the process keeps.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRecords {
    /// How many records of each kind memory holds: accepted connections, refused ones, refused calls, allowed calls.
    /// Default 1024.
    keep: Option<Scalar>,
    /// File to write them to as lines of JSON, mode 0600; by default none is written.
    file: Option<PathBuf>,
    /// The size in bytes at which the file is rotated; default 16 MiB.
    rotate_bytes: Option<Scalar>,
    /// How many rotated files are kept, as `file.1` and so on; default 4.
    rotate_keep: Option<Scalar>,
    /// Which decisions go to the file: `refused` (default; those in audit mode too), or `all`.
    decisions: Decisions,
}

/// `[records] decisions`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decisions {
    #[default]
    Refused,
    All,
}

impl RawRecords {
    pub(super) fn check(self) -> Result<RecordsConfig, ConfigFault> {
        let default = RecordsConfig::default().keep;
        let keep = or(self.keep, default, "records.keep", &RecordsConfig::KEEP)?;
        let key = "records.rotate_bytes";
        let rotate_bytes = or(self.rotate_bytes, ROTATE_BYTES, key, &FileConfig::ROTATE_BYTES)?;
        let key = "records.rotate_keep";
        let rotate_keep = or(self.rotate_keep, ROTATE_KEEP, key, &FileConfig::ROTATE_KEEP)?;
        let allowed = self.decisions == Decisions::All;
        let file = self.file.map(|path| FileConfig { path, rotate_bytes, rotate_keep, allowed });
        Ok(RecordsConfig { keep, file })
    }
}
