//! The issuer's configuration: as it is written, and as it is used.
//!
//! [`IssuerSettings`] is the `[issuer]` section of the file (where it listens stands in `[service]`, as for every
//! process); unknown keys are refused. [`IssuerConfig`] is what came
//! through the checks; every ceiling has its reason beside it. Neither holds a secret.

use crate::admin_socket::{self, SocketPathError};
use avouch_issuance::SvidProfile;
use avouch_service::{ConfigFault, Readable, Scalar};
use avouch_spiffe::{Bounds, TrustDomain};
use avouch_time::duration;
use serde::Deserialize;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// The `[issuer]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The trust domain to issue for, as in `market.example`.
    pub trust_domain: TrustDomain,
    /// The directory of keys, certificates and the store: local, and of the issuer's user alone.
    pub data_dir: PathBuf,
    /// The administration socket. Default: `avouch-<hash of the trust domain>/admin.sock` in `$XDG_RUNTIME_DIR`, else
    /// `/run` (as root), else the temporary directory.
    pub admin_socket: Option<PathBuf>,
    /// Directory with `root.toml`, `signing-authority.toml` and `svid.toml`. Default: the profiles built in.
    pub profiles: Option<PathBuf>,
    /// Life of an SVID whose entry names none, within the bounds of the profile. Default: the profile's (`1h`).
    pub svid_ttl: Option<Scalar>,
    /// The recovery window of an entry that names none: how long after its SVID has expired a workload may recover. Default: `24h`.
    pub recovery_window: Option<Scalar>,
    /// The time for which certificates stay in the inventory after they have expired. Default: `30d`.
    pub retention: Option<Scalar>,
    /// The rate limits per peer.
    #[serde(default)]
    pub rate_limits: RateLimitSettings,
}

/// The `[issuer.rate_limits]` section: a sustained rate and a burst, per peer.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(try_from = "RawRateLimits")]
pub struct RateLimitSettings {
    /// Calls per second without an identity (enrolment, recovery), per IP address.
    pub unauthenticated_per_second: NonZeroU32,
    /// The burst: calls that may come at once.
    pub unauthenticated_burst: NonZeroU32,
    /// Calls per second with an identity (renewal, trust stream), per SPIFFE ID.
    pub authenticated_per_second: NonZeroU32,
    /// The burst: calls that may come at once.
    pub authenticated_burst: NonZeroU32,
}

impl Default for RateLimitSettings {
    /// A host may start some hundred workloads at once, and a thousand replicas may share one identity.
    fn default() -> Self {
        Self {
            unauthenticated_per_second: at_least_one(20),
            unauthenticated_burst: at_least_one(200),
            authenticated_per_second: at_least_one(50),
            authenticated_burst: at_least_one(1_000),
        }
    }
}

const fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(n.saturating_sub(1))
}

/// The `[issuer.rate_limits]` section as written; an absent key gets its default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRateLimits {
    unauthenticated_per_second: Option<Scalar>,
    unauthenticated_burst: Option<Scalar>,
    authenticated_per_second: Option<Scalar>,
    authenticated_burst: Option<Scalar>,
}

impl TryFrom<RawRateLimits> for RateLimitSettings {
    type Error = ConfigFault;

    fn try_from(raw: RawRateLimits) -> Result<Self, ConfigFault> {
        let rate = |key: &str, given, default| match within(key, given, &RATE)? {
            Some(rate) => Ok::<_, ConfigFault>(at_least_one(rate)),
            None => Ok(default),
        };
        let default = Self::default();
        Ok(Self {
            unauthenticated_per_second: rate(
                "issuer.rate_limits.unauthenticated_per_second",
                raw.unauthenticated_per_second,
                default.unauthenticated_per_second,
            )?,
            unauthenticated_burst: rate(
                "issuer.rate_limits.unauthenticated_burst",
                raw.unauthenticated_burst,
                default.unauthenticated_burst,
            )?,
            authenticated_per_second: rate(
                "issuer.rate_limits.authenticated_per_second",
                raw.authenticated_per_second,
                default.authenticated_per_second,
            )?,
            authenticated_burst: rate(
                "issuer.rate_limits.authenticated_burst",
                raw.authenticated_burst,
                default.authenticated_burst,
            )?,
        })
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number or a duration is outside its bounds.
    #[error(transparent)]
    Value(#[from] ConfigFault),
    /// Certificates would be deleted from the inventory while their workloads may still recover.
    #[error("issuer.retention ({retention}) is shorter than issuer.recovery_window ({window}), so certificates \
             would be forgotten while they may still recover", retention = duration::exact(*retention),
            window = duration::exact(*window))]
    RetentionTooShort {
        /// The retention as configured.
        retention: Duration,
        /// The recovery window as configured.
        window: Duration,
    },
    /// The socket's path cannot be used.
    #[error(transparent)]
    AdminSocket(#[from] SocketPathError),
}

/// The longest recovery window: a workload whose SVID expired longer ago should join anew.
pub const MAX_RECOVERY_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

const RECOVERY_WINDOW: Bounds<Duration> =
    Bounds::new(Duration::ZERO, MAX_RECOVERY_WINDOW, "a workload that was away longer should join anew");
const RETENTION: Bounds<Duration> =
    Bounds::new(HOUR, Duration::from_secs(10 * 366 * 24 * 3600), "the inventory is no archive");
/// The bounds of any profile; the bounds of the configured one are checked once it is loaded.
const SVID_TTL: Bounds<Duration> = Bounds::new(
    SvidProfile::LIFETIME_FLOOR,
    SvidProfile::LIFETIME_CEILING,
    "no profile may allow less or more",
);
const RATE: Bounds<u32> =
    Bounds::new(1, 1_000_000, "with none nobody is answered, and more than one in a microsecond is no limit");

/// The checked configuration. Reading one from a file runs the checks.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "IssuerSettings")]
pub struct IssuerConfig {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Keys, certificates, store.
    pub data_dir: PathBuf,
    /// The socket on which the administrator reaches it.
    pub admin_socket: PathBuf,
    /// Certificate profiles, or the built-in ones.
    pub profiles: Option<PathBuf>,
    /// Life of an SVID whose entry names none; `None`: the profile's default.
    pub svid_ttl: Option<Duration>,
    /// At most [`MAX_RECOVERY_WINDOW`].
    pub recovery_window: Duration,
    /// At least the longest recovery window.
    pub retention: Duration,
    /// The rate limits per peer.
    pub rate_limits: RateLimitSettings,
}

impl TryFrom<IssuerSettings> for IssuerConfig {
    type Error = ConfigError;

    fn try_from(settings: IssuerSettings) -> Result<Self, ConfigError> {
        let recovery_window = within("issuer.recovery_window", settings.recovery_window, &RECOVERY_WINDOW)?;
        let recovery_window = recovery_window.unwrap_or(24 * HOUR);
        let retention =
            within("issuer.retention", settings.retention, &RETENTION)?.unwrap_or(MAX_RECOVERY_WINDOW);
        let svid_ttl = within("issuer.svid_ttl", settings.svid_ttl, &SVID_TTL)?;
        if retention < recovery_window {
            return Err(ConfigError::RetentionTooShort { retention, window: recovery_window });
        }
        let admin_socket = match settings.admin_socket {
            Some(path) => admin_socket::check_length(path)?,
            None => admin_socket::default_path(&settings.trust_domain)?,
        };
        Ok(Self {
            trust_domain: settings.trust_domain,
            data_dir: settings.data_dir,
            admin_socket,
            profiles: settings.profiles,
            svid_ttl,
            recovery_window,
            retention,
            rate_limits: settings.rate_limits,
        })
    }
}

/// The value of a key that may be absent.
fn within<T: Readable>(
    key: &str,
    written: Option<Scalar>,
    bounds: &Bounds<T>,
) -> Result<Option<T>, ConfigFault> {
    written.map(|written| written.within(key, bounds)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "trust_domain = 'market.example'\ndata_dir = '/var/lib/avouch'\n";

    fn parse(more: &str) -> Result<IssuerConfig, String> {
        let text = format!("{LEAST}{more}");
        toml::from_str(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_configuration_has_the_documented_defaults() {
        let config = parse("admin_socket = '/run/a.sock'").unwrap();
        assert_eq!(config.svid_ttl, None);
        assert_eq!(config.recovery_window, 24 * HOUR);
        assert_eq!(config.retention, 30 * 24 * HOUR);
        assert_eq!(config.rate_limits, RateLimitSettings::default());
        assert_eq!(config.rate_limits.unauthenticated_per_second.get(), 20);
        assert_eq!(config.rate_limits.authenticated_burst.get(), 1_000);
    }

    #[test]
    fn every_key_can_be_set() {
        let config = parse(
            "svid_ttl = '20s'\nrecovery_window = '1h'\nretention = '2h'\n\
             admin_socket = '/tmp/x/admin.sock'\nprofiles = '/etc/avouch/certs'\n\
             [rate_limits]\nunauthenticated_per_second = 1\nunauthenticated_burst = 2\n\
             authenticated_per_second = 3\nauthenticated_burst = 4\n",
        )
        .unwrap();
        assert_eq!(config.svid_ttl, Some(Duration::from_secs(20)));
        assert_eq!((config.recovery_window, config.retention), (HOUR, 2 * HOUR));
        assert_eq!(config.rate_limits.authenticated_burst.get(), 4);
    }

    #[test]
    fn what_cannot_work_is_refused_and_says_why() {
        for (more, part) in [
            ("svid_ttl = 20", "issuer.svid_ttl = 20: the unit is missing; for seconds write \"20s\""),
            ("svid_ttl = '20'", "issuer.svid_ttl = 20: the unit is missing; for seconds write \"20s\""),
            ("recovery_window = '31d'", "issuer.recovery_window = 31d: must be a duration"),
            ("retention = '59m'", "issuer.retention = 59m"),
            ("retention = '18446744073709551615ms'", "issuer.retention = "),
            ("svid_ttl = '4s'", "issuer.svid_ttl = 4s"),
            ("svid_ttl = '8d'", "issuer.svid_ttl = 8d"),
            ("recovery_window = '2d'\nretention = '1d'", "issuer.retention (1d) is shorter"),
            ("svid_tll = '1h'", "unknown field `svid_tll`"),
            (
                "[rate_limits]\nunauthenticated_burst = 0",
                "issuer.rate_limits.unauthenticated_burst = 0: must be",
            ),
            (
                "[rate_limits]\nunauthenticated_burst = 0.6",
                "issuer.rate_limits.unauthenticated_burst = 0.6: must be",
            ),
            (
                "[rate_limits]\nunauthenticated_burst = -1",
                "issuer.rate_limits.unauthenticated_burst = -1: must be",
            ),
            (
                "[rate_limits]\nauthenticated_burst = 4294967295",
                "issuer.rate_limits.authenticated_burst = 4294967295",
            ),
            (
                "[rate_limits]\nunauthenticated_per_second = 1000001",
                "issuer.rate_limits.unauthenticated_per_second",
            ),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(part), "{more}: {error}");
        }
    }
}
