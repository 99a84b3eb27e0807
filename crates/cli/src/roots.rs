//! Roots and an identity from files, as commands take them: `--bundle FILE` and `--identity DIR`.
//!
//! Refuses what it cannot read whole: half a bundle would turn down what the whole one admits.

use crate::error::CliError;
use crate::input;
use crate::inspect::Document;
use avouch_identity::{Svid, TrustStore};
use avouch_spiffe::x509::{Authority, Facts};
use avouch_spiffe::{Bundle, BundleSet, SpiffeId, TrustDomain};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The roots of one trust domain.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    authorities: Vec<Authority>,
    /// Whose they are; `None`: nobody said, so they are taken for those of the peer's trust domain.
    domain: Option<TrustDomain>,
    /// Nobody named them: they are the issuer's own, and say nothing of another trust domain.
    of_issuer: bool,
}

impl Roots {
    /// Reads PEM, DER or a SPIFFE bundle.
    pub(crate) fn read(path: &Path, domain: Option<TrustDomain>) -> Result<Self, CliError> {
        let unusable = |problem: String| CliError::Unusable {
            path: path.to_owned(),
            problem,
            help: "expected root certificates in PEM, or a SPIFFE bundle, as `avouch bundle show --pem` and \
                   `avouch bundle show --json` write them"
                .to_owned(),
        };
        let document =
            Document::parse(&input::file(path)?).map_err(|_| unusable("it holds no bundle".into()))?;
        if document.certificates.is_empty() && document.bundle.is_none() {
            return Err(unusable("it holds no certificate".into()));
        }
        let authorities: Result<Vec<_>, _> =
            document.certificates.iter().map(|der| Authority::parse(der)).collect();
        let authorities = authorities.map_err(|error| unusable(error.to_string()))?;
        let said = authorities.iter().find_map(Authority::spiffe_id).map(|id| id.trust_domain().clone());
        Ok(Self { authorities, domain: domain.or(said), of_issuer: false })
    }

    /// The bundle that the issuer gives out at this moment.
    pub(crate) fn of_issuer(bundle: &Bundle) -> Self {
        let domain = Some(bundle.trust_domain().clone());
        Self { authorities: bundle.authorities().to_vec(), domain, of_issuer: true }
    }

    /// Whose they are, for people.
    pub(crate) fn whose(&self) -> &'static str {
        if self.of_issuer { "the issuer's bundle" } else { "the bundle" }
    }

    /// Whether this leaf is to be judged by them.
    pub(crate) fn judge(&self, leaf: &[u8]) -> bool {
        !self.of_issuer || claimed_domain(leaf) == self.domain
    }

    /// What to verify the chain of this leaf with.
    pub(crate) fn store_for(&self, leaf: &[u8]) -> TrustStore {
        let mut bundles = BundleSet::new();
        if let Some(domain) = self.domain.clone().or_else(|| claimed_domain(leaf)) {
            bundles.insert(Bundle::new(domain, self.authorities.clone(), 0));
        }
        TrustStore::new(bundles)
    }
}

fn claimed_domain(leaf: &[u8]) -> Option<TrustDomain> {
    let facts = Facts::parse(leaf).ok()?;
    facts.uris.iter().find_map(|uri| uri.parse::<SpiffeId>().ok()).map(|id| id.trust_domain().clone())
}

/// An SVID to present, with the roots beside it.
#[derive(Debug)]
pub(crate) struct OwnIdentity {
    pub(crate) svid: Svid,
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) roots: Option<Roots>,
}

/// As avouch, spiffe-helper and cert-manager call them.
const CERTIFICATES: [&str; 3] = ["svid.pem", "tls.crt", "cert.pem"];
const KEYS: [&str; 4] = ["svid_key.pem", "tls.key", "key.pem", "svid.key"];
const BUNDLES: [&str; 5] = ["bundle.json", "svid_bundle.pem", "bundle.pem", "ca.crt", "ca.pem"];

impl OwnIdentity {
    /// Reads a workload's state directory, or one with certificate, key and roots in files of their own.
    pub(crate) fn read(directory: &Path) -> Result<Self, CliError> {
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
        let pem = Zeroizing::new(input::file(&certificate)?);
        let (key_path, key) = match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(key) => (certificate.clone(), key), // avouch keeps both in one file
            Err(_) => {
                let path = find(&KEYS).ok_or_else(|| missing("private key", &KEYS))?;
                let key = key(&path)?;
                (path, key)
            }
        };
        let chain = chain(&certificate, &pem)?;
        let svid = Svid::new(chain.clone(), &key).map_err(|error| CliError::Unusable {
            path: key_path.clone(),
            problem: describe(&error),
            help: format!("look at it with `avouch cert inspect {}`", certificate.display()),
        })?;
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|error| bad_key(&key_path, &error.to_string()))?;
        let certified = Arc::new(CertifiedKey::new(chain, signer));
        let domain = svid.spiffe_id().trust_domain().clone();
        let roots = find(&BUNDLES).map(|path| Roots::read(&path, Some(domain))).transpose()?;
        Ok(Self { svid, certified, roots })
    }
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CliError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.map_err(|error| CliError::Unusable {
        path: path.to_owned(),
        problem: error.to_string(),
        help: "expected PEM certificates, leaf first".to_owned(),
    })
}

/// A private key of a PEM file.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CliError> {
    let pem = Zeroizing::new(input::file(path)?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| bad_key(path, &error.to_string()))
}

fn bad_key(path: &Path, problem: &str) -> CliError {
    CliError::Unusable {
        path: PathBuf::from(path),
        problem: format!("no usable private key: {problem}"),
        help: "expected one PEM block, PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY, not encrypted"
            .to_owned(),
    }
}

/// An error with what is behind it.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        text.push_str(&format!(": {source}"));
        below = source.source();
    }
    text
}
