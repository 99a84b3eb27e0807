//! The common sections: as written, and as checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use avouch_identity::ServerOptions;
use avouch_records::{FileConfig, RecordsConfig};
use avouch_spiffe::SpiffeId;
use avouch_spiffe::clock::SharedClock;
use serde::Deserialize;

use super::error::{ConfigError, ConfigFault};
use super::period::Period;

/// Longest drain: beyond it an orchestrator kills the process anyway.
const MAX_DRAIN: Duration = Duration::from_secs(300);

/// Records in memory, of each kind, at half a kilobyte.
const MAX_RECORDS: usize = 16 * 1024;

/// Defaults of a record file.
pub(super) const ROTATE_BYTES: u64 = 16 * 1024 * 1024;
pub(super) const ROTATE_KEEP: u32 = 4;

/// A record file is at least this long before it is followed by another.
const MIN_ROTATE: u64 = 64 * 1024;

/// Older record files.
const MAX_OLDER: u32 = 1000;

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
    drain_timeout: Option<Period>,
    /// Admit the identities of every trusted domain rather than of the own one only; the policy decides the rest.
    federated: bool,
    /// Seconds by which this process's clock is wrong. For tests of clock skew; ordinary builds refuse the key.
    #[cfg(feature = "test-clock")]
    clock_offset_seconds: i64,
    /// Limits of the listener.
    limits: RawLimits,
}

/// `[service.limits]` as written; each has a safe default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLimits {
    /// Handshakes under way at once; beyond it the source network with most of them loses its oldest. Default 1024.
    max_handshakes: Option<usize>,
    /// Handshakes begun per second by one source network (IPv4 address, IPv6 /64). Default 2000.
    max_handshake_rate: Option<u32>,
    /// Connections open at once. Default 16384.
    max_connections: Option<usize>,
    /// Of them without a peer identity, where such are admitted. Default 1024, and never more than half.
    max_unauthenticated_connections: Option<usize>,
    /// How long one without a peer identity lives. Default 30 s.
    unauthenticated_connection_age: Option<Period>,
    /// From accept to the end of the handshake, and again to the HTTP/2 preface. Default 5 s.
    handshake_timeout: Option<Period>,
    /// Streams open at once on a connection.
    max_concurrent_streams: Option<u32>,
    /// Bytes of a request's headers.
    max_header_list_size: Option<u32>,
    /// Calls a peer may abandon within ten seconds unless it lets more of them finish. Default 512.
    max_abandoned_calls: Option<u32>,
    /// A connection is asked to go away at this age.
    max_connection_age: Option<Period>,
    /// Certificates in a peer's chain, leaf included.
    max_chain_depth: Option<usize>,
    /// Bytes of one certificate.
    max_certificate_bytes: Option<usize>,
}

/// `[service]` as checked.
#[derive(Debug, Clone)]
pub(crate) struct ServiceConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) address: Option<String>,
    pub(crate) address_file: Option<PathBuf>,
    pub(crate) drain_timeout: Duration,
    pub(crate) federated: bool,
    pub(crate) clock: SharedClock,
    pub(crate) options: ServerOptions,
}

impl RawService {
    pub(super) fn check(self) -> Result<ServiceConfig, ConfigError> {
        let drain_timeout = self.drain_timeout.map_or(Duration::from_secs(10), |period| period.0);
        if drain_timeout > MAX_DRAIN {
            let value = Period(drain_timeout);
            Err(ConfigFault::value(
                "service.drain_timeout",
                value,
                "at most 300s; nobody waits longer for a stop",
            ))?;
        }
        if let Some(address) = &self.address
            && !is_host_port(address)
        {
            Err(ConfigFault::value("service.address", address, "must be host:port"))?;
        }
        let mut options = self.limits.check()?;
        options.retirement_grace = drain_timeout;
        let clock = self.clock();
        Ok(ServiceConfig {
            listen: listen("service.listen", self.listen.as_deref())?,
            address: self.address,
            address_file: self.address_file,
            drain_timeout,
            federated: self.federated,
            clock,
            options,
        })
    }

    #[cfg(not(feature = "test-clock"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn clock(&self) -> SharedClock {
        avouch_spiffe::clock::system()
    }

    #[cfg(feature = "test-clock")]
    fn clock(&self) -> SharedClock {
        std::sync::Arc::new(super::test_clock::WrongClock { offset_seconds: self.clock_offset_seconds })
    }
}

impl RawLimits {
    fn check(&self) -> Result<ServerOptions, ConfigError> {
        let mut options = ServerOptions::default();
        limit("max_handshakes", self.max_handshakes, &mut options.max_handshakes)?;
        limit("max_handshake_rate", self.max_handshake_rate, &mut options.max_handshake_rate)?;
        limit("max_connections", self.max_connections, &mut options.max_connections)?;
        let unauthenticated = &mut options.max_unauthenticated_connections;
        limit("max_unauthenticated_connections", self.max_unauthenticated_connections, unauthenticated)?;
        limit("max_abandoned_calls", self.max_abandoned_calls, &mut options.max_abandoned_calls)?;
        limit("max_concurrent_streams", self.max_concurrent_streams, &mut options.max_concurrent_streams)?;
        limit("max_header_list_size", self.max_header_list_size, &mut options.max_header_list_size)?;
        limit("max_chain_depth", self.max_chain_depth, &mut options.chain.max_depth)?;
        limit("max_certificate_bytes", self.max_certificate_bytes, &mut options.chain.max_certificate_bytes)?;
        let age = self.max_connection_age.map(|period| period.0);
        limit_time("max_connection_age", age, &mut options.max_connection_age)?;
        let unauthenticated = self.unauthenticated_connection_age.map(|period| period.0);
        let age = &mut options.unauthenticated_connection_age;
        limit_time("unauthenticated_connection_age", unauthenticated, age)?;
        let handshake = self.handshake_timeout.map(|period| period.0);
        limit_time("handshake_timeout", handshake, &mut options.handshake_timeout)?;
        Ok(options)
    }
}

const NOT_ZERO: &str = "must not be zero: nothing could get through";

fn limit<T: Copy + Default + PartialEq + ToString>(
    key: &str,
    given: Option<T>,
    into: &mut T,
) -> Result<(), ConfigError> {
    let Some(value) = given else { return Ok(()) };
    if value == T::default() {
        Err(ConfigFault::value(&format!("service.limits.{key}"), value.to_string(), NOT_ZERO))?;
    }
    *into = value;
    Ok(())
}

fn limit_time(key: &str, given: Option<Duration>, into: &mut Duration) -> Result<(), ConfigError> {
    let Some(value) = given else { return Ok(()) };
    if value.is_zero() {
        Err(ConfigFault::value(&format!("service.limits.{key}"), Period(value), NOT_ZERO))?;
    }
    *into = value;
    Ok(())
}

fn listen(key: &str, text: Option<&str>) -> Result<SocketAddr, ConfigError> {
    let text = text.unwrap_or("127.0.0.1:0");
    let expected = "must be an IP address and a port, like 127.0.0.1:7001 or [::]:7001";
    Ok(text.parse().map_err(|_| ConfigFault::value(key, text, expected))?)
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// `[health]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHealth {
    /// Where the plain health and metrics port listens; default `127.0.0.1:0`. It answers anybody who reaches it.
    listen: Option<String>,
}

impl RawHealth {
    pub(super) fn check(&self) -> Result<SocketAddr, ConfigError> {
        listen("health.listen", self.listen.as_deref())
    }
}

/// `[authz]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAuthz {
    /// The policy file. Without one nobody holds a role.
    policy: Option<PathBuf>,
    /// How often the policy file is looked at; default 1 s.
    watch_interval: Option<Period>,
}

/// `[authz]` as checked.
#[derive(Debug, Clone)]
pub(crate) struct AuthzConfig {
    pub(crate) policy: Option<PathBuf>,
    pub(crate) watch_interval: Duration,
}

impl RawAuthz {
    pub(super) fn check(self) -> Result<AuthzConfig, ConfigError> {
        let watch_interval = self.watch_interval.map_or(Duration::from_secs(1), |period| period.0);
        if watch_interval < Duration::from_millis(50) {
            let value = Period(watch_interval);
            Err(ConfigFault::value(
                "authz.watch_interval",
                value,
                "at least 50ms; the file is read each time",
            ))?;
        }
        Ok(AuthzConfig { policy: self.policy, watch_interval })
    }
}

/// `[records]` as written: what the process remembers of connections and calls.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRecords {
    /// How many records of each kind memory holds: accepted connections, refused ones, refused calls, allowed calls.
    /// Default 1024.
    keep: Option<usize>,
    /// File to write them to as lines of JSON, mode 0600; by default none is written.
    file: Option<PathBuf>,
    /// From this size on, in bytes, a new file is begun; default 16 MiB.
    rotate_bytes: Option<u64>,
    /// How many older files are kept, as `file.1` and so on; default 4.
    rotate_keep: Option<u32>,
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
    pub(super) fn check(self) -> Result<RecordsConfig, ConfigError> {
        let keep = self.keep.unwrap_or_else(|| RecordsConfig::default().keep);
        if !(1..=MAX_RECORDS).contains(&keep) {
            let expected = "from 1 to 16384; longer ago than that is for the file";
            Err(ConfigFault::value("records.keep", keep.to_string(), expected))?;
        }
        let rotate_bytes = self.rotate_bytes.unwrap_or(ROTATE_BYTES);
        if rotate_bytes < MIN_ROTATE {
            let expected = "at least 65536; a file of less is nothing but renaming";
            Err(ConfigFault::value("records.rotate_bytes", rotate_bytes.to_string(), expected))?;
        }
        let rotate_keep = self.rotate_keep.unwrap_or(ROTATE_KEEP);
        if rotate_keep > MAX_OLDER {
            Err(ConfigFault::value(
                "records.rotate_keep",
                rotate_keep.to_string(),
                "at most 1000; each is renamed when a new one begins",
            ))?;
        }
        let allowed = self.decisions == Decisions::All;
        let file = self.file.map(|path| FileConfig { path, rotate_bytes, rotate_keep, allowed });
        Ok(RecordsConfig { keep, file })
    }
}

/// `[upstreams.NAME]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    /// `https://host:port`.
    url: String,
    /// The SPIFFE ID its server must have.
    id: String,
    /// Deadline of calls that have none of their own; default 10 s.
    #[serde(default)]
    timeout: Option<Period>,
}

/// `[upstreams.NAME]` as checked.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamConfig {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) id: SpiffeId,
    pub(crate) timeout: Option<Duration>,
}

impl RawUpstream {
    pub(super) fn check(self, section: &str) -> Result<UpstreamConfig, ConfigError> {
        let expected = "must be of the form https://host:port; there is no plain-text upstream";
        let bad = || ConfigFault::value(&format!("{section}.url"), &self.url, expected);
        let uri: http::Uri = self.url.parse().map_err(|_| bad())?;
        let (Some("https"), Some(host), Some(port)) = (uri.scheme_str(), uri.host(), uri.port_u16()) else {
            return Err(bad().into());
        };
        let id = self.id.parse().map_err(|_| {
            ConfigFault::value(
                &format!("{section}.id"),
                &self.id,
                "must be a SPIFFE ID: who the server must be",
            )
        })?;
        let timeout = self.timeout.map(|period| period.0);
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            Err(ConfigFault::value(
                &format!("{section}.timeout"),
                "0s",
                "must not be zero: no call could succeed",
            ))?;
        }
        Ok(UpstreamConfig { host: host.to_owned(), port, id, timeout, url: self.url })
    }
}
