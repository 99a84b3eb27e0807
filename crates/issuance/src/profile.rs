//! Certificate profiles: what the issuer may put into a root, a signing authority and an SVID.
//!
//! A profile is written as TOML and becomes a checked value with ceilings before anything is issued from it. What the
//! standards fix (key usages, path lengths, the SPIFFE ID, criticality) is not in a profile and cannot be configured.

mod file;

use std::fmt::Write as _;
use std::time::Duration;

use avouch_spiffe::TrustDomain;
use avouch_spiffe::x509::KeyAlgorithm;
use avouch_time::duration;

use file::{CaFile, KeyName, SvidFile};

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// The longest common name (X.520, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;
const TRUST_DOMAIN: &str = "{trust_domain}";
const KEY_ID: &str = "{key_id}";

/// A profile that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Not TOML of the profile's form: a wrong type, an unknown or a missing key.
    #[error("{file}:{line}: {message}")]
    Form {
        /// The file, as it was named by the caller.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The fault.
        message: String,
    },
    /// A value that is not allowed.
    #[error("{file}: {key}: {why}")]
    Value {
        /// The file, as it was named by the caller.
        file: String,
        /// The key.
        key: &'static str,
        /// The fault of its value.
        why: String,
    },
}

/// The three profiles of one issuer.
#[derive(Clone, Debug)]
pub struct Profiles {
    /// For roots.
    pub root: RootProfile,
    /// For signing authorities.
    pub signing_authority: SigningAuthorityProfile,
    /// For SVIDs.
    pub svid: SvidProfile,
}

/// The profile of a root.
#[derive(Clone, Debug)]
pub struct RootProfile(CaProfile);

/// The profile of a signing authority.
#[derive(Clone, Debug)]
pub struct SigningAuthorityProfile(CaProfile);

/// The settings that the profiles of both kinds of authority have in common.
#[derive(Clone, Debug)]
pub(crate) struct CaProfile {
    pub(crate) lifetime: Duration,
    pub(crate) backdate: Duration,
    common_name: String,
}

/// The profile of an SVID.
#[derive(Clone, Debug)]
pub struct SvidProfile {
    default_lifetime: Duration,
    min_lifetime: Duration,
    max_lifetime: Duration,
    backdate: Duration,
    max_dns_names: usize,
    key_algorithms: Vec<KeyAlgorithm>,
}

impl Profiles {
    /// The profiles of `certs/` as they were when this was built.
    ///
    /// # Errors
    ///
    /// If an embedded profile is invalid, which a test excludes.
    pub fn embedded() -> Result<Self, ProfileError> {
        Ok(Self {
            root: RootProfile::parse("certs/root.toml", include_str!("../../../certs/root.toml"))?,
            signing_authority: SigningAuthorityProfile::parse(
                "certs/signing-authority.toml",
                include_str!("../../../certs/signing-authority.toml"),
            )?,
            svid: SvidProfile::parse("certs/svid.toml", include_str!("../../../certs/svid.toml"))?,
        })
    }
}

impl RootProfile {
    /// The longest life of a root.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(20 * 366 * DAY);

    /// Parses TOML. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(file: &str, toml: &str) -> Result<Self, ProfileError> {
        CaProfile::parse(file, toml, Self::MAX_LIFETIME).map(Self)
    }

    pub(crate) fn ca(&self) -> &CaProfile {
        &self.0
    }

    /// The lifetime of a root.
    pub fn lifetime(&self) -> Duration {
        self.0.lifetime
    }
}

impl SigningAuthorityProfile {
    /// The longest life of a signing authority.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(2 * 366 * DAY);

    /// Parses TOML. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(file: &str, toml: &str) -> Result<Self, ProfileError> {
        CaProfile::parse(file, toml, Self::MAX_LIFETIME).map(Self)
    }

    pub(crate) fn ca(&self) -> &CaProfile {
        &self.0
    }

    /// The lifetime of a signing authority.
    pub fn lifetime(&self) -> Duration {
        self.0.lifetime
    }
}

impl CaProfile {
    const MIN_LIFETIME: Duration = Duration::from_secs(10);
    const MAX_BACKDATE: Duration = Duration::from_secs(HOUR);

    fn parse(file: &str, toml: &str, max_lifetime: Duration) -> Result<Self, ProfileError> {
        let form: CaFile = file::parse(file, toml)?;
        let lifetime = bounded(file, "lifetime", form.lifetime.0, Self::MIN_LIFETIME, max_lifetime)?;
        let backdate = bounded(file, "backdate", form.backdate.0, Duration::ZERO, Self::MAX_BACKDATE)?;
        if form.key_algorithm != KeyName::EcdsaP256 {
            return Err(value(file, "key_algorithm", "authorities have keys of \"ecdsa-p256\"".to_owned()));
        }
        let name = form.common_name;
        if !name.contains(TRUST_DOMAIN) || !name.contains(KEY_ID) {
            let why = format!(
                "must contain {TRUST_DOMAIN} and {KEY_ID}, so that no two authorities are called the same"
            );
            return Err(value(file, "common_name", why));
        }
        let fixed = name.replace(TRUST_DOMAIN, "").replace(KEY_ID, "");
        if fixed.len() > 32 || fixed.contains(['{', '}']) || !fixed.chars().all(|c| matches!(c, ' '..='~')) {
            let why =
                "beside its placeholders, at most 32 printable ASCII characters other than braces".to_owned();
            return Err(value(file, "common_name", why));
        }
        Ok(Self { lifetime, backdate, common_name: name })
    }

    /// The common name for a trust domain and a key. A long trust domain is shortened in the middle.
    pub(crate) fn common_name(&self, trust_domain: &TrustDomain, key_id: &[u8; 32]) -> String {
        let mut short_id = String::new();
        for octet in key_id.iter().take(4) {
            let _infallible = write!(short_id, "{octet:02x}");
        }
        let name = self.common_name.replace(KEY_ID, &short_id);
        let room = MAX_COMMON_NAME.saturating_sub(name.replace(TRUST_DOMAIN, "").len());
        let domain = trust_domain.as_str();
        if name.matches(TRUST_DOMAIN).count() == 1 && domain.len() > room {
            let keep = room.saturating_sub(2) / 2;
            let tail = domain.len().saturating_sub(keep);
            let ends = (domain.get(..keep).unwrap_or_default(), domain.get(tail..).unwrap_or_default());
            return name.replace(TRUST_DOMAIN, &format!("{}..{}", ends.0, ends.1));
        }
        name.replace(TRUST_DOMAIN, domain)
    }
}

impl SvidProfile {
    /// The longest life of an SVID, whatever a profile says.
    pub const LIFETIME_CEILING: Duration = Duration::from_secs(7 * DAY);
    /// The shortest life of an SVID, whatever a profile says.
    pub const LIFETIME_FLOOR: Duration = Duration::from_secs(5);
    const MAX_BACKDATE: Duration = Duration::from_secs(300);
    const DNS_NAMES_CEILING: usize = 32;

    /// Parses TOML. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(file: &str, toml: &str) -> Result<Self, ProfileError> {
        let form: SvidFile = file::parse(file, toml)?;
        let (floor, ceiling) = (Self::LIFETIME_FLOOR, Self::LIFETIME_CEILING);
        let min_lifetime = bounded(file, "min_lifetime", form.min_lifetime.0, floor, ceiling)?;
        let max_lifetime = bounded(file, "max_lifetime", form.max_lifetime.0, min_lifetime, ceiling)?;
        let default_lifetime =
            bounded(file, "default_lifetime", form.default_lifetime.0, min_lifetime, max_lifetime)?;
        let backdate = bounded(file, "backdate", form.backdate.0, Duration::ZERO, Self::MAX_BACKDATE)?;
        if form.max_dns_names > Self::DNS_NAMES_CEILING {
            let why = format!("must not be more than {}", Self::DNS_NAMES_CEILING);
            return Err(value(file, "max_dns_names", why));
        }
        if form.key_algorithms.is_empty() {
            return Err(value(file, "key_algorithms", "must name at least one".to_owned()));
        }
        Ok(Self {
            default_lifetime,
            min_lifetime,
            max_lifetime,
            backdate,
            max_dns_names: form.max_dns_names,
            key_algorithms: form.key_algorithms.iter().map(|name| name.algorithm()).collect(),
        })
    }

    /// The life of an SVID whose entry names none.
    pub fn default_lifetime(&self) -> Duration {
        self.default_lifetime
    }

    /// The shortest life an entry may name.
    pub fn min_lifetime(&self) -> Duration {
        self.min_lifetime
    }

    /// The longest life an entry may name.
    pub fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    /// The most by which `notBefore` is put back, for clocks that are behind.
    pub fn backdate(&self) -> Duration {
        self.backdate
    }

    /// The most DNS names that an entry may have.
    pub fn max_dns_names(&self) -> usize {
        self.max_dns_names
    }

    /// Whether SVIDs are issued for keys of this algorithm.
    pub fn accepts(&self, algorithm: KeyAlgorithm) -> bool {
        self.key_algorithms.contains(&algorithm)
    }
}

fn bounded(
    file: &str,
    key: &'static str,
    found: Duration,
    min: Duration,
    max: Duration,
) -> Result<Duration, ProfileError> {
    if (min..=max).contains(&found) {
        return Ok(found);
    }
    let [min, max] = [min, max].map(duration::exact);
    Err(value(file, key, format!("must be between \"{min}\" and \"{max}\"")))
}

fn value(file: &str, key: &'static str, why: String) -> ProfileError {
    ProfileError::Value { file: file.to_owned(), key, why }
}

#[cfg(test)]
mod tests;
