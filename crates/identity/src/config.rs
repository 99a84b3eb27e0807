//! Where a workload's identity comes from, as configured.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use avouch_files::PrivateDirError;
use avouch_spiffe::{Bounds, HostPort, HostPortError, OutOfBounds, SpiffeId, TrustDomain};
use serde::Deserialize;

use crate::source;

/// The source of an identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum IdentityConfig {
    /// Directly from an avouch issuer.
    Issuer(IssuerConfig),
    /// From PEM files that somebody else keeps fresh.
    Files(FilesConfig),
}

/// What of an identity's configuration cannot work: which key, its value, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityConfigError {
    /// A number is outside of its bounds.
    #[error("{key} = {bounds}")]
    OutOfBounds {
        /// Which key.
        key: &'static str,
        /// What it says, and what it may say.
        bounds: OutOfBounds,
    },
    /// An address is none, or one that nobody could connect to.
    #[error("{key} = {value}: {why}")]
    Address {
        /// Which key.
        key: &'static str,
        /// As given.
        value: String,
        /// What is wrong with it.
        why: HostPortError,
    },
    /// Two bundles are named for one trust domain.
    #[error("federated.trust_domain = {0}: is there twice, and a trust domain has one bundle")]
    FederatedTwice(TrustDomain),
    /// The own trust domain is named as one of the others.
    #[error("federated.trust_domain = {0}: is the own trust domain, whose roots are named by `bundle`")]
    FederatedOwn(TrustDomain),
    /// No certificate is of a trust domain as a whole.
    #[error("spiffe_id = {0}: names a trust domain and no workload in it; add its path")]
    NoWorkload(SpiffeId),
    /// The certificate is of another identity than the one that is asked for.
    #[error("spiffe_id = {expected}: the certificate in {path} is for {found}")]
    OtherIdentity {
        /// As configured.
        expected: SpiffeId,
        /// The certificate's file.
        path: PathBuf,
        /// What it is for.
        found: SpiffeId,
    },
    /// The state directory cannot be used.
    #[error("state_dir: {0}")]
    StateDir(#[source] PrivateDirError),
}

impl IdentityConfig {
    /// Everything of it that can be judged without asking anybody: numbers, addresses, whether trust domains go together,
    /// and of the files of this machine what is no secret.
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
    /// Where key, SVID and bundle are kept between runs (a directory of mode 0700). Absent: in memory only, and
    /// every start needs a new join token.
    pub state_dir: Option<PathBuf>,
    /// Where this workload can be reached, as it tells the issuer: `host:port`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// How long one attempt to reach the issuer may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

impl IssuerConfig {
    /// Of [`IssuerConfig::timeout_ms`].
    pub const TIMEOUT_MS: Bounds<u64> =
        Bounds::new(10, 300_000, "it is milliseconds; a handshake takes a round trip and a signature");

    pub(crate) fn timeout(&self) -> Duration {
        // Programs that build their own configuration are not checked: a keepalive of this length must not spin.
        Duration::from_millis(Self::TIMEOUT_MS.clamp(self.timeout_ms))
    }

    fn check(&self) -> Result<(), IdentityConfigError> {
        within("timeout_ms", self.timeout_ms, &Self::TIMEOUT_MS)?;
        reachable("address", &self.address)?;
        for address in &self.addresses {
            reachable("addresses", address)?;
        }
        let Some(path) = &self.state_dir else { return Ok(()) };
        avouch_files::examine_private_dir(path).map_err(IdentityConfigError::StateDir)
    }
}

fn within(key: &'static str, value: u64, bounds: &Bounds<u64>) -> Result<(), IdentityConfigError> {
    bounds.check(value).map(|_| ()).map_err(|bounds| IdentityConfigError::OutOfBounds { key, bounds })
}

fn reachable(key: &'static str, value: &str) -> Result<(), IdentityConfigError> {
    value.parse().and_then(|address: HostPort| address.usable()).map_err(|why| IdentityConfigError::Address {
        key,
        value: value.to_owned(),
        why,
    })
}

fn default_timeout_ms() -> u64 {
    5_000
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
    /// How often the files are looked at, in milliseconds.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
    /// The identity the certificate must carry; another is refused. Absent: whichever it carries at the start, and
    /// from then on no other.
    pub spiffe_id: Option<SpiffeId>,
}

impl FilesConfig {
    /// Of [`FilesConfig::poll_ms`].
    pub const POLL_MS: Bounds<u64> = Bounds::new(
        10,
        3_600_000,
        "it is milliseconds; the files are read each time, and a new certificate that nobody looks for expires",
    );

    fn check(&self) -> Result<(), IdentityConfigError> {
        within("poll_ms", self.poll_ms, &Self::POLL_MS)?;
        if let Some(id) = self.spiffe_id.as_ref().filter(|id| id.is_root()) {
            return Err(IdentityConfigError::NoWorkload(id.clone()));
        }
        if let (Some(expected), Some(found)) = (&self.spiffe_id, source::certificate_id(&self.certificate))
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
        self.spiffe_id.clone().or_else(|| source::certificate_id(&self.certificate))
    }
}

/// The bundle of another trust domain.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedBundle {
    /// Whose bundle it is.
    pub trust_domain: TrustDomain,
    /// PEM certificates, or a SPIFFE bundle (JSON).
    pub bundle: PathBuf,
}

fn default_poll_ms() -> u64 {
    1_000
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
            poll_ms: 200,
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
            timeout_ms: 5_000,
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
        for value in [0, 9, 3_600_001, u64::MAX] {
            let error = files(|files| files.poll_ms = value).unwrap_err();
            assert!(error.starts_with(&format!("poll_ms = {value}: must be")), "{error}");
        }
        for value in [0, 9, 300_001, u64::MAX] {
            let error = issuer(|issuer| issuer.timeout_ms = value).unwrap_err();
            assert!(error.starts_with(&format!("timeout_ms = {value}: must be")), "{error}");
        }
        assert_eq!(issuer(|issuer| issuer.timeout_ms = 10), Ok(()));
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
        let timeout = |timeout_ms| IssuerConfig { timeout_ms, ..of_issuer() }.timeout();
        assert_eq!(timeout(0), Duration::from_millis(10));
        assert_eq!(timeout(u64::MAX), Duration::from_secs(300));
    }
}
