//! The certificates of a run: one CA, and PEM files of each identity for the processes to read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_files::pem::{self, encode};
use avouch_identity::{FilesConfig, IdentityConfig};
use avouch_testkit::ca::{Ca, id, leaf_params, year};
use avouch_testkit::files;
use rcgen::SanType;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The name of the server's identity.
pub const SERVER: &str = "server";

/// The name of the caller's identity.
pub const CALLER: &str = "caller";

/// The DNS name that every certificate carries beside its SPIFFE ID, for peers that judge by it.
pub const DNS_NAME: &str = "localhost";

/// Larger than any file of a run.
const LIMIT: u64 = 64 * 1024;

/// A directory with `root.pem` and, for each identity, `NAME.pem` (the chain, leaf first) and `NAME.key` (PKCS#8).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Makes the identities of server and caller below a CA, P-256 throughout, in `dir`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn create(dir: &Path, ca: &Ca) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::system("make the directory of the certificates"))?;
        let pki = Self { dir: dir.to_owned() };
        files::install(&pki.root(), encode("CERTIFICATE", &ca.root));
        for name in [SERVER, CALLER] {
            pki.add(ca, name);
        }
        Ok(pki)
    }

    /// Adds an identity with the path `/NAME`.
    pub fn add(&self, ca: &Ca, name: &str) {
        let mut params = leaf_params(id(&format!("/{name}")).as_str(), year());
        params.subject_alt_names.extend(DNS_NAME.try_into().map(SanType::DnsName));
        let (chain, key) = ca.sign(&params);
        files::install(&self.chain(name), files::certificates(&chain));
        files::install(&self.key(name), encode("PRIVATE KEY", key.secret_der()));
        files::set_mode(&self.key(name), 0o600);
    }

    /// The file of the root's certificate.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root.pem")
    }

    /// The file of an identity's chain.
    #[must_use]
    pub fn chain(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("pem")
    }

    /// The file of an identity's key.
    #[must_use]
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("key")
    }

    /// An identity's chain and key.
    ///
    /// # Errors
    /// When the files are not there, or are something else.
    pub fn credentials(
        &self,
        name: &str,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let text = |path: &Path| {
            let action = format!("read {}", path.display());
            avouch_files::read(path, LIMIT).map_err(Error::system(action))
        };
        let chain = pem::certificates(&text(&self.chain(name))?);
        let key = pem::private_key(&text(&self.key(name))?);
        let unusable = |error: pem::PemError| Error::other(format!("the files of {name}: {error}"));
        Ok((chain.map_err(unusable)?, key.map_err(unusable)?))
    }

    /// The root's certificate.
    ///
    /// # Errors
    /// As [`Pki::credentials`].
    pub fn root_certificate(&self) -> Result<CertificateDer<'static>, Error> {
        let text = avouch_files::read(&self.root(), LIMIT).map_err(Error::system("read the root"))?;
        let found = pem::certificates(&text).map_err(|error| Error::other(format!("the root: {error}")))?;
        found.into_iter().next().ok_or_else(|| Error::other("the root's file is empty"))
    }

    /// The configuration of an identity that is read from these files.
    #[must_use]
    pub fn identity(&self, name: &str) -> IdentityConfig {
        IdentityConfig::Files(FilesConfig {
            certificate: self.chain(name),
            key: self.key(name),
            bundle: self.root(),
            federated: Vec::new(),
            // The files of a run never change, and to look at them costs what no call costs.
            poll_interval: Duration::from_secs(3600),
            spiffe_id: None,
        })
    }
}
