//! Roots and an identity from files, as commands take them: `--bundle FILE` and `--identity DIR`.
//!
//! Refuses a file of which it cannot read every part: with half of a bundle, peers would be rejected that the whole one
//! accepts.

use crate::error::CliError;
use crate::input;
use crate::inspect::{self, Document, Unreadable};
use avouch_files::pem::{self, PemError};
use avouch_files::{BUNDLE_LIMIT, SECRET_LIMIT};
use avouch_identity::{Svid, TrustStore};
use avouch_spiffe::x509::{Authority, CertificateInfo};
use avouch_spiffe::{Bundle, BundleSet, SpiffeId, TrustDomain};
use avouch_text::{shorten_path, with_causes};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

/// The roots of one trust domain.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    authorities: Vec<Authority>,
    /// Their trust domain; `None`: nobody said, so they are taken for those of the peer's.
    domain: Option<TrustDomain>,
    /// Whether nobody named them: they are the issuer's own then, and say nothing of another trust domain.
    of_issuer: bool,
}

impl Roots {
    /// Reads PEM, DER or a SPIFFE bundle.
    pub(crate) fn read(path: &Path, domain: Option<TrustDomain>) -> Result<Self, CliError> {
        let expected = "expected root certificates in PEM, or a SPIFFE bundle, as `avouch bundle show --pem` and \
                        `avouch bundle show --json` write them";
        let unusable = |problem: String, help: Option<String>| CliError::Unusable {
            path: path.to_owned(),
            problem,
            help: help.unwrap_or_else(|| expected.to_owned()),
        };
        let content = input::file(path, BUNDLE_LIMIT)?;
        let document = Document::parse(&content).and_then(Document::whole).map_err(|error| match error {
            Unreadable::Pem(error) => unusable(format!("it holds no bundle: {error}"), error.mend(path)),
            Unreadable::Key(kind, _) => unusable(format!("it holds no bundle but {}", kind.name()), None),
            Unreadable::Json(problem) => unusable(format!("it holds no bundle: {problem}"), None),
        })?;
        if document.certificates.is_empty() && document.bundle.is_none() {
            return Err(unusable("it holds no certificate".into(), None));
        }
        let authorities: Result<Vec<_>, _> =
            document.certificates.iter().map(|der| Authority::parse(der)).collect();
        let authorities = authorities.map_err(|error| unusable(error.to_string(), None))?;
        let said = authorities.iter().find_map(Authority::spiffe_id).map(|id| id.trust_domain().clone());
        Ok(Self { authorities, domain: domain.or(said), of_issuer: false })
    }

    /// The bundle that the issuer gives out at this moment.
    pub(crate) fn of_issuer(bundle: &Bundle) -> Self {
        let domain = Some(bundle.trust_domain().clone());
        Self { authorities: bundle.authorities().to_vec(), domain, of_issuer: true }
    }

    /// The text that says whose roots they are.
    pub(crate) fn whose(&self) -> &'static str {
        if self.of_issuer { "the issuer's bundle" } else { "the bundle" }
    }

    /// Whether this leaf is to be judged by them.
    pub(crate) fn judge(&self, leaf: &[u8]) -> bool {
        !self.of_issuer || claimed_domain(leaf) == self.domain
    }

    /// The trust store to verify the chain of this leaf with.
    pub(crate) fn store_for(&self, leaf: &[u8]) -> TrustStore {
        let mut bundles = BundleSet::new();
        if let Some(domain) = self.domain.clone().or_else(|| claimed_domain(leaf)) {
            bundles.insert(Bundle::new(domain, self.authorities.clone(), 0));
        }
        TrustStore::new(bundles)
    }
}

fn claimed_domain(leaf: &[u8]) -> Option<TrustDomain> {
    let info = CertificateInfo::parse(leaf).ok()?;
    info.uris.iter().find_map(|uri| uri.parse::<SpiffeId>().ok()).map(|id| id.trust_domain().clone())
}

/// An SVID to present, with the roots beside it.
#[derive(Debug)]
pub(crate) struct OwnIdentity {
    pub(crate) svid: Svid,
    pub(crate) roots: Option<Roots>,
}

/// The names that avouch, spiffe-helper and cert-manager give these files.
const CERTIFICATES: [&str; 3] = ["svid.pem", "tls.crt", "cert.pem"];
const KEYS: [&str; 4] = ["svid_key.pem", "tls.key", "key.pem", "svid.key"];
const BUNDLES: [&str; 5] = ["bundle.json", "svid_bundle.pem", "bundle.pem", "ca.crt", "ca.pem"];

/// The files of an identity in a directory.
#[derive(Debug)]
pub(crate) struct IdentityFiles {
    pub(crate) certificate: PathBuf,
    /// The certificate's own file where that holds the key, too.
    pub(crate) key: PathBuf,
    pub(crate) bundle: Option<PathBuf>,
}

impl IdentityFiles {
    /// Finds a workload's state directory, or one with certificate, key and roots in files of their own; and the key, in
    /// whichever of the files it is.
    ///
    /// # Errors
    /// When there is no certificate or no key that can be used.
    pub(crate) fn find(directory: &Path) -> Result<(Self, PrivateKeyDer<'static>), CliError> {
        let find = |names: &[&str]| names.iter().map(|name| directory.join(name)).find(|path| path.is_file());
        let missing = |what: &str, names: &[&str]| CliError::Unusable {
            path: directory.to_owned(),
            problem: format!("there is no {what} in it"),
            help: format!(
                "name the state_dir of a workload, or a directory with one of {}",
                names.join(", ")
            ),
        };
        let certificate = find(&CERTIFICATES).ok_or_else(|| missing("certificate", &CERTIFICATES))?;
        let content = input::file(&certificate, SECRET_LIMIT)?;
        let bundle = find(&BUNDLES);
        match pem::private_key(&content) {
            Ok(found) => Ok((Self { key: certificate.clone(), certificate, bundle }, found)),
            Err(error) => {
                let holds_a_key = matches!(error, PemError::Absent { found, .. } if found.is_private_key());
                match find(&KEYS) {
                    Some(path) => key(&path).map(|found| (Self { certificate, key: path, bundle }, found)),
                    None if holds_a_key => Err(bad_key(&certificate, &error)),
                    None => Err(missing("private key", &KEYS)),
                }
            }
        }
    }

    /// The certificate and those above it.
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, CliError> {
        let content = input::file(&self.certificate, SECRET_LIMIT)?;
        pem::certificates(&content).map_err(|error| CliError::Unusable {
            path: self.certificate.clone(),
            problem: error.to_string(),
            help: error
                .mend(&self.certificate)
                .unwrap_or_else(|| "expected PEM certificates, leaf first".to_owned()),
        })
    }
}

impl OwnIdentity {
    /// Reads the identity in a directory.
    ///
    /// # Errors
    /// When a file of it is missing or cannot be used, or certificate and key do not belong together.
    pub(crate) fn read(directory: &Path) -> Result<Self, CliError> {
        let (files, key) = IdentityFiles::find(directory)?;
        let chain = files.chain()?;
        let unusable = |problem: String| CliError::Unusable {
            path: files.certificate.clone(),
            problem,
            help: format!("look at it with `avouch cert inspect {}`", shorten_path(&files.certificate)),
        };
        if let Some(problem) = inspect::order_problem(&chain) {
            return Err(unusable(problem));
        }
        let svid = Svid::new(chain, &key).map_err(|error| unusable(with_causes(&error).to_string()))?;
        let domain = svid.spiffe_id().trust_domain().clone();
        let roots = files.bundle.map(|path| Roots::read(&path, Some(domain))).transpose()?;
        Ok(Self { svid, roots })
    }
}

const USABLE_KEY: &str =
    "expected one PEM block, PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY, not encrypted";

/// A private key of a PEM file.
///
/// # Errors
/// When there is none that can be used: then what there is in its place. Nothing of the content is in it.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CliError> {
    pem::private_key(&input::file(path, SECRET_LIMIT)?).map_err(|error| bad_key(path, &error))
}

fn bad_key(path: &Path, error: &PemError) -> CliError {
    CliError::Unusable {
        path: path.to_owned(),
        problem: format!("no usable private key: {error}"),
        help: error.mend(path).unwrap_or_else(|| USABLE_KEY.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::Diagnostic;

    #[test]
    fn a_directory_without_an_identity_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let error = IdentityFiles::find(temp.path()).unwrap_err();
        let text = format!("{error}; {}", error.help().unwrap());
        assert!(text.contains(&temp.path().display().to_string()) && text.contains("svid.pem"), "{text}");
    }
}
