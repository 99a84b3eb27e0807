//! The issuer's configuration: as it is written, and as it is used.
//!
//! [`IssuerSettings`] is the `[issuer]` section of the file (where it listens stands in `[service]`, as for every
//! process); unknown keys are refused. [`IssuerConfig`] is what came
//! through the checks; every ceiling has its reason beside it. Neither holds a secret.

pub mod duration;

use crate::admin_socket::{self, SocketPathError};
use avouch_spiffe::TrustDomain;
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
    /// Where keys, certificates and the store live: a local directory of the issuer's user alone.
    pub data_dir: PathBuf,
    /// The administration socket. Default: `avouch-<hash of the trust domain>/admin.sock` in `$XDG_RUNTIME_DIR`, else
    /// `/run` (as root), else the temporary directory.
    pub admin_socket: Option<PathBuf>,
    /// Directory with `root.toml`, `signing-authority.toml` and `svid.toml`. Default: the profiles built in.
    pub profiles: Option<PathBuf>,
    /// Life of an SVID whose entry names none, within the bounds of the profile. Default: the profile's (`1h`).
    #[serde(default, deserialize_with = "duration::deserialize")]
    pub svid_ttl: Option<Duration>,
    /// How long after its SVID has expired a workload may recover, if its entry does not say. Default: `24h`.
    #[serde(default, deserialize_with = "duration::deserialize")]
    pub recovery_window: Option<Duration>,
    /// How long certificates stay in the inventory after they have expired. Default: `30d`.
    #[serde(default, deserialize_with = "duration::deserialize")]
    pub retention: Option<Duration>,
    /// Who may ask how often.
    #[serde(default)]
    pub rate_limits: RateLimitSettings,
}

/// The `[issuer.rate_limits]` section: a sustained rate and a burst, per peer.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitSettings {
    /// Calls per second without an identity (enrolment, recovery), per IP address.
    pub unauthenticated_per_second: NonZeroU32,
    /// How many of them may come at once.
    pub unauthenticated_burst: NonZeroU32,
    /// Calls per second with an identity (renewal, trust stream), per SPIFFE ID.
    pub authenticated_per_second: NonZeroU32,
    /// How many of them may come at once.
    pub authenticated_burst: NonZeroU32,
}

impl Default for RateLimitSettings {
    /// A host may start some hundred workloads at once, and a thousand replicas may share one identity.
    fn default() -> Self {
        const fn at_least_one(n: u32) -> NonZeroU32 {
            NonZeroU32::MIN.saturating_add(n - 1)
        }
        Self {
            unauthenticated_per_second: at_least_one(20),
            unauthenticated_burst: at_least_one(200),
            authenticated_per_second: at_least_one(50),
            authenticated_burst: at_least_one(1_000),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A duration is outside its bounds.
    #[error("issuer.{key} is {found}, but must be between {least} and {most}: {why}", found = duration::display(*found),
            least = duration::display(*least), most = duration::display(*most))]
    OutOfBounds {
        /// Which key.
        key: &'static str,
        /// What it says.
        found: Duration,
        /// The least that works.
        least: Duration,
        /// The most that is allowed.
        most: Duration,
        /// The reason.
        why: &'static str,
    },
    /// Certificates would be forgotten while they may still recover.
    #[error("issuer.retention ({retention}) is shorter than issuer.recovery_window ({window}), so certificates \
             would be forgotten while they may still recover", retention = duration::display(*retention),
            window = duration::display(*window))]
    RetentionTooShort {
        /// What it says.
        retention: Duration,
        /// The window.
        window: Duration,
    },
    /// The socket's path cannot be used.
    #[error(transparent)]
    AdminSocket(#[from] SocketPathError),
}

/// A key that was lost longer than this ago should join anew.
pub const MAX_RECOVERY_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
const MAX_RETENTION: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// The checked configuration. Reading one from a file runs the checks.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "IssuerSettings")]
pub struct IssuerConfig {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Keys, certificates, store.
    pub data_dir: PathBuf,
    /// Where the administrator reaches it.
    pub admin_socket: PathBuf,
    /// Certificate profiles, or the built-in ones.
    pub profiles: Option<PathBuf>,
    /// Life of an SVID whose entry names none; `None`: the profile's default.
    pub svid_ttl: Option<Duration>,
    /// At most [`MAX_RECOVERY_WINDOW`].
    pub recovery_window: Duration,
    /// At least the longest recovery window.
    pub retention: Duration,
    /// Who may ask how often.
    pub rate_limits: RateLimitSettings,
}

impl TryFrom<IssuerSettings> for IssuerConfig {
    type Error = ConfigError;

    fn try_from(settings: IssuerSettings) -> Result<Self, ConfigError> {
        let recovery_window = settings.recovery_window.unwrap_or(24 * HOUR);
        check_recovery_window(recovery_window)?;
        let retention = settings.retention.unwrap_or(MAX_RECOVERY_WINDOW);
        bounds("retention", retention, HOUR, MAX_RETENTION, "the inventory is no archive")?;
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
            svid_ttl: settings.svid_ttl,
            recovery_window,
            retention,
            rate_limits: settings.rate_limits,
        })
    }
}

/// The bounds of a recovery window, for the issuer and for each entry.
pub(crate) fn check_recovery_window(window: Duration) -> Result<(), ConfigError> {
    let why = "a workload that was away longer should join anew";
    bounds("recovery_window", window, Duration::ZERO, MAX_RECOVERY_WINDOW, why)
}

fn bounds(
    key: &'static str,
    found: Duration,
    least: Duration,
    most: Duration,
    why: &'static str,
) -> Result<(), ConfigError> {
    if found < least || found > most {
        return Err(ConfigError::OutOfBounds { key, found, least, most, why });
    }
    Ok(())
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
            ("svid_ttl = 20", "invalid type"),
            ("svid_ttl = '20'", "20s, 10m, 1h"),
            ("recovery_window = '31d'", "issuer.recovery_window is 31d"),
            ("recovery_window = '2d'\nretention = '1d'", "issuer.retention (1d) is shorter"),
            ("svid_tll = '1h'", "unknown field `svid_tll`"),
            ("[rate_limits]\nunauthenticated_burst = 0", "nonzero"),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(part), "{more}: {error}");
        }
    }
}
