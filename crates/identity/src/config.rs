//! Where a workload's identity comes from, as configured.

use std::path::PathBuf;
use std::time::Duration;

use avouch_spiffe::{SpiffeId, TrustDomain};
use serde::Deserialize;

/// The source of an identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum IdentityConfig {
    /// Directly from an avouch issuer.
    Issuer(IssuerConfig),
    /// From PEM files that somebody else keeps fresh.
    Files(FilesConfig),
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
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

fn default_timeout_ms() -> u64 {
    5_000
}

/// An identity from PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// PEM certificates, leaf first.
    pub certificate: PathBuf,
    /// PEM private key (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
    /// The own trust domain's roots: PEM certificates, or a SPIFFE bundle (JSON).
    pub bundle: PathBuf,
    /// Bundles of other trust domains.
    #[serde(default)]
    pub federated: Vec<FederatedBundle>,
    /// How often the files are looked at, in milliseconds.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
    /// The identity the certificate must carry; another is refused. Absent: whichever it carries at the start, and
    /// from then on no other.
    pub spiffe_id: Option<SpiffeId>,
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
