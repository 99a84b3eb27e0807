//! The configuration of a workload's identity: its source.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_files::{PrivateDirError, SECRET_LIMIT, pem};
use avouch_spiffe::x509::Leaf;
use avouch_spiffe::{Bounds, HostPort, HostPortError, OutOfBounds, SpiffeId, TrustDomain};
use avouch_time::ConfigDuration;
use serde::{Deserialize, Deserializer};

/// The source of an identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum IdentityConfig {
    /// The identity comes from an avouch issuer.
    Issuer(IssuerConfig),
    /// The identity comes from PEM files that somebody else keeps fresh.
    Files(FilesConfig),
}

/// The error of an identity's configuration: the key, its value, and what is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityConfigError {
    /// A number is outside of its bounds.
    #[error("{key} = {bounds}")]
    OutOfBounds {
        /// The configuration key.
        key: &'static str,
        /// The value, and the values that are allowed.
        bounds: OutOfBounds,
    },
    /// An address is invalid, or one that no client could connect to.
    #[error("{key} = {value}: {why}")]
    Address {
        /// The configuration key.
        key: &'static str,
        /// The value as it was given.
        value: String,
        /// The clause of `HOST:PORT` that it breaks.
        why: HostPortError,
    },
    /// Two bundles are named for one trust domain.
    #[error("federated.trust_domain = {0}: is there twice, and a trust domain has one bundle")]
    FederatedTwice(TrustDomain),
    /// The own trust domain is named as one of the others.
    #[error("federated.trust_domain = {0}: is the own trust domain, whose roots are named by `bundle`")]
    FederatedOwn(TrustDomain),
    /// The SPIFFE ID names a trust domain and no workload: no certificate is issued to that.
    #[error("spiffe_id = {0}: names a trust domain and no workload in it; add its path")]
    NoWorkload(SpiffeId),
    /// The certificate is of another identity than the one that is asked for.
    #[error("spiffe_id = {expected}: the certificate in {path} is for {found}")]
    OtherIdentity {
        /// The identity as configured.
        expected: SpiffeId,
        /// The certificate's file.
        path: PathBuf,
        /// The identity that the certificate is for.
        found: SpiffeId,
    },
    /// The state directory cannot be used.
    #[error("state_dir: {0}")]
    StateDir(#[source] PrivateDirError),
}

impl IdentityConfig {
    /// Checks everything that can be checked without network access: numbers, addresses, whether the trust domains are
    /// consistent, and of the local files those that are not secret.
    ///
    /// # Errors
    /// See [`IdentityConfigError`].
    pub fn check(&self) -> Result<(), IdentityConfigError> {
        match self {
            Self::Issuer(issuer) => issuer.check(),
            Self::Files(files) => files.check(),
        }
    }

    /// The own trust domain, where the configuration or the certificate it names says which that is. One that comes
    /// from the issuer comes with the join token.
    #[must_use]
    pub fn own_trust_domain(&self) -> Option<TrustDomain> {
        match self {
            Self::Issuer(_) => None,
            Self::Files(files) => files.own_id().map(|id| id.trust_domain().clone()),
        }
    }

    /// The other trust domains whose bundles are there.
    #[must_use]
    pub fn federated(&self) -> Vec<TrustDomain> {
        match self {
            Self::Issuer(_) => Vec::new(),
            Self::Files(files) => files.federated.iter().map(|bundle| bundle.trust_domain.clone()).collect(),
        }
    }
}

/// An identity from the issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The issuer's address, `host:port`.
    pub address: String,
    /// A file with the join token of the first contact. Read only while there is no identity yet, or when recovery
    /// is refused.
    pub join_token_file: Option<PathBuf>,
    /// The directory in which key, SVID and bundle are kept between runs (of mode 0700). Absent: in memory only, and
    /// every start needs a new join token.
    pub state_dir: Option<PathBuf>,
    /// The addresses at which this workload can be reached, as it tells the issuer: `host:port`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The time limit of one attempt to reach the issuer; default 5 s.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub timeout: Duration,
}

impl IssuerConfig {
    /// The bounds of [`IssuerConfig::timeout`].
    pub const TIMEOUT: Bounds<Duration> = Bounds::new(
        Duration::from_millis(10),
        Duration::from_secs(300),
        "a handshake takes a round trip and a signature",
    );

    pub(crate) fn bounded_timeout(&self) -> Duration {
        // A configuration that a program builds itself is not checked; the value is clamped so that a keepalive of this
        // interval does not spin.
        Self::TIMEOUT.clamp(self.timeout)
    }

    fn check(&self) -> Result<(), IdentityConfigError> {
        within("timeout", self.timeout, &Self::TIMEOUT)?;
        reachable("address", &self.address)?;
        for address in &self.addresses {
            reachable("addresses", address)?;
        }
        let Some(path) = &self.state_dir else { return Ok(()) };
        avouch_files::examine_private_dir(path).map_err(IdentityConfigError::StateDir)
    }
}

fn within(key: &'static str, value: Duration, bounds: &Bounds<Duration>) -> Result<(), IdentityConfigError> {
    bounds.check(value).map(|_| ()).map_err(|bounds| IdentityConfigError::OutOfBounds { key, bounds })
}

fn reachable(key: &'static str, value: &str) -> Result<(), IdentityConfigError> {
    value.parse().and_then(|address: HostPort| address.usable()).map_err(|why| IdentityConfigError::Address {
        key,
        value: value.to_owned(),
        why,
    })
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    ConfigDuration::deserialize(deserializer).map(Duration::from)
}

/// An identity from PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// PEM certificates, leaf first: at most 64 KiB.
    pub certificate: PathBuf,
    /// PEM private key (PKCS#8, SEC1 or PKCS#1), not encrypted; nobody but the process may be able to reach it.
    pub key: PathBuf,
    /// The own trust domain's roots: PEM certificates, or a SPIFFE bundle (JSON).
    pub bundle: PathBuf,
    /// Bundles of other trust domains: one for each, none for the own.
    #[serde(default)]
    pub federated: Vec<FederatedBundle>,
    /// The interval at which the files are looked at; default 1 s.
    #[serde(default = "default_poll_interval", deserialize_with = "duration")]
    pub poll_interval: Duration,
    /// The identity the certificate must carry; another is rejected. Absent: whichever it carries at the start, and
    /// from then on no other.
    pub spiffe_id: Option<SpiffeId>,
}

impl FilesConfig {
    /// The bounds of [`FilesConfig::poll_interval`].
    pub const POLL_INTERVAL: Bounds<Duration> = Bounds::new(
        Duration::from_millis(10),
        Duration::from_secs(3600),
        "the files are read each time, and a new certificate that nobody looks for expires",
    );

    fn check(&self) -> Result<(), IdentityConfigError> {
        within("poll_interval", self.poll_interval, &Self::POLL_INTERVAL)?;
        if let Some(id) = self.spiffe_id.as_ref().filter(|id| id.is_root()) {
            return Err(IdentityConfigError::NoWorkload(id.clone()));
        }
        if let (Some(expected), Some(found)) = (&self.spiffe_id, certificate_id(&self.certificate))
            && *expected != found
        {
            let (expected, path) = (expected.clone(), self.certificate.clone());
            return Err(IdentityConfigError::OtherIdentity { expected, path, found });
        }
        let own = self.own_id();
        let mut seen = BTreeSet::new();
        for FederatedBundle { trust_domain, .. } in &self.federated {
            if own.as_ref().is_some_and(|own| own.trust_domain() == trust_domain) {
                return Err(IdentityConfigError::FederatedOwn(trust_domain.clone()));
            }
            if !seen.insert(trust_domain) {
                return Err(IdentityConfigError::FederatedTwice(trust_domain.clone()));
            }
        }
        Ok(())
    }

    /// The own identity: the one that is asked for, else the one of the certificate, if it is there yet.
    fn own_id(&self) -> Option<SpiffeId> {
        self.spiffe_id.clone().or_else(|| certificate_id(&self.certificate))
    }
}

/// The identity of the certificate in `path`, if there is one: a file that is missing or unreadable is reported by the
/// start.
fn certificate_id(path: &Path) -> Option<SpiffeId> {
    let chain = pem::certificates(&avouch_files::read(path, SECRET_LIMIT).ok()?).ok()?;
    Leaf::parse(chain.first()?).ok().map(|leaf| leaf.spiffe_id().clone())
}

/// The bundle of another trust domain.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedBundle {
    /// The trust domain that the bundle belongs to.
    pub trust_domain: TrustDomain,
    /// PEM certificates, or a SPIFFE bundle (JSON).
    pub bundle: PathBuf,
}

fn default_poll_interval() -> Duration {
    Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(change: impl FnOnce(&mut FilesConfig)) -> Result<(), String> {
        let mut config = FilesConfig {
            certificate: "/no/c".into(),
            key: "/no/k".into(),
            bundle: "/no/b".into(),
            federated: Vec::new(),
            poll_interval: Duration::from_millis(200),
            spiffe_id: None,
        };
        change(&mut config);
        IdentityConfig::Files(config).check().map_err(|error| error.to_string())
    }

    fn issuer(change: impl FnOnce(&mut IssuerConfig)) -> Result<(), String> {
        let mut config = of_issuer();
        change(&mut config);
        IdentityConfig::Issuer(config).check().map_err(|error| error.to_string())
    }

    fn of_issuer() -> IssuerConfig {
        IssuerConfig {
            address: "a:1".into(),
            join_token_file: None,
            state_dir: None,
            addresses: Vec::new(),
            timeout: Duration::from_secs(5),
        }
    }

    fn bundle(domain: &str) -> FederatedBundle {
        FederatedBundle { trust_domain: domain.parse().unwrap(), bundle: "/no/f".into() }
    }

    #[test]
    fn files_that_are_not_there_yet_are_no_fault_of_the_configuration() {
        assert_eq!(files(|_| {}), Ok(()));
        assert_eq!(files(|files| files.spiffe_id = "spiffe://market.example/a".parse().ok()), Ok(()));
    }

    #[test]
    fn the_own_trust_domain_and_one_that_is_there_twice_are_refused_among_the_federated_ones() {
        let own = || "spiffe://market.example/a".parse().ok();
        let with = |domains: &[&str]| {
            files(|files| {
                files.spiffe_id = own();
                files.federated = domains.iter().map(|domain| bundle(domain)).collect();
            })
        };
        assert_eq!(with(&["a.example", "b.example"]), Ok(()));
        let error = with(&["a.example", "market.example"]).unwrap_err();
        assert!(error.contains("federated.trust_domain = market.example: is the own"), "{error}");
        let error = with(&["a.example", "a.example"]).unwrap_err();
        assert!(error.contains("federated.trust_domain = a.example: is there twice"), "{error}");
    }

    #[test]
    fn numbers_have_bounds() {
        for value in [0, 9, 3_600_001, u64::MAX].map(Duration::from_millis) {
            let error = files(|files| files.poll_interval = value).unwrap_err();
            let written = ConfigDuration(value);
            assert!(
                error.starts_with("poll_interval = ") && error.contains(": must be"),
                "{written}: {error}"
            );
        }
        for (value, written) in [(0, "0s"), (9, "9ms"), (300_001, "300001ms")] {
            let value = Duration::from_millis(value);
            let error = issuer(|issuer| issuer.timeout = value).unwrap_err();
            assert!(error.starts_with(&format!("timeout = {written}: must be")), "{error}");
        }
        assert!(issuer(|issuer| issuer.timeout = Duration::MAX).is_err());
        assert_eq!(issuer(|issuer| issuer.timeout = Duration::from_millis(10)), Ok(()));
    }

    #[test]
    fn addresses_nobody_could_use_are_refused_with_their_key() {
        for address in ["a", "a:0", "::1:7000", "0.0.0.0:7000", "[::]:7000", "224.0.0.1:7000", "u@a:1", ""] {
            let error = issuer(|issuer| issuer.address = address.into()).unwrap_err();
            assert!(error.starts_with(&format!("address = {address}: ")), "{error}");
            let error = issuer(|issuer| issuer.addresses = vec!["b:1".into(), address.into()]).unwrap_err();
            assert!(error.starts_with(&format!("addresses = {address}: ")), "{error}");
        }
    }

    #[test]
    fn a_state_directory_that_is_none_or_open_to_others_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let check = |path: &std::path::Path| issuer(|issuer| issuer.state_dir = Some(path.to_owned()));
        assert_eq!(check(&temp.path().join("new")), Ok(()));
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = check(&path).unwrap_err();
            assert!(error.starts_with("state_dir: ") && error.contains("not a directory"), "{error}");
        }
        let open = temp.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(check(&open).unwrap_err().contains("chmod 0700"), "{:?}", check(&open));
    }

    #[test]
    fn what_a_program_sets_by_itself_is_brought_within_what_works() {
        let bounded = |timeout| IssuerConfig { timeout, ..of_issuer() }.bounded_timeout();
        assert_eq!(bounded(Duration::ZERO), Duration::from_millis(10));
        assert_eq!(bounded(Duration::MAX), Duration::from_secs(300));
    }
}
