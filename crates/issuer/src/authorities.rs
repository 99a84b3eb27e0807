//! The keys that sign: the root, which vouches for signing authorities, and the signing authority of this issuer.
//!
//! Both are made at the first start and loaded later. The root's key is read when an authority has to be signed and
//! forgotten at once; it may be kept elsewhere in between. Refuses: key files that others can read, a key of another
//! certificate, an expired root, another trust domain's root, and to replace a root that is missing.

mod root_crl;

use arc_swap::{ArcSwap, ArcSwapOption};
use avouch_files::pem::{self, PemError};
use avouch_files::{PrivateDir, PrivateDirError};
use avouch_issuance::{CaError, CrlEntry, Entropy, KeyError, PrivateKey, Profiles, Root, SigningAuthority};
use avouch_spiffe::x509::Authority;
use avouch_spiffe::{Bundle, TrustDomain};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use std::{fmt, io};
use zeroize::Zeroizing;

const ROOT_KEY: &str = "root.key";
const ROOT_CERTIFICATE: &str = "root.crt";
/// Certificate and key in one file: replaced together or not at all.
const SIGNING: &str = "signing.pem";
/// The signing authority before, whose certificates live on: it still signs revocation lists. In the same form.
const PREVIOUS: &str = "signing-previous.pem";

/// A failure to make or load the authorities.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthoritiesError {
    /// A file cannot be used.
    #[error("a key or certificate file cannot be used")]
    File(#[from] PrivateDirError),
    /// A file does not hold what its name says.
    #[error("{path} cannot be used: {}", fault.describe(path))]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The fault.
        fault: PemError,
    },
    /// A key cannot be made or read.
    #[error("the key in {path} cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: KeyError,
    },
    /// A certificate cannot be made, or is not what it must be.
    #[error("the authority in {path} cannot be used")]
    Authority {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: CaError,
    },
    /// The root has expired.
    #[error(
        "the root in {path} has expired; the trust domain needs a new root before anything can be issued"
    )]
    RootExpired {
        /// The file.
        path: PathBuf,
    },
    /// The root is not valid yet.
    #[error("the root in {path} is not valid yet: this machine's clock is behind")]
    RootNotYetValid {
        /// The file.
        path: PathBuf,
    },
    /// The root's certificate is gone, though it has been in use.
    #[error(
        "{path} is missing, but this directory has been in use; put it back, no other root is made in its place"
    )]
    RootMissing {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The root's key is needed, and its file is missing.
    #[error("{path} is missing; it is needed to sign a new signing authority: put it there for a moment")]
    RootKeyMissing {
        /// The file that is missing.
        path: PathBuf,
    },
}

/// The authorities of one issuer.
pub(crate) struct Authorities {
    dir: Arc<PrivateDir>,
    trust_domain: TrustDomain,
    profiles: Profiles,
    entropy: Arc<dyn Entropy>,
    root: Authority,
    signing: ArcSwap<SigningAuthority>,
    previous: ArcSwapOption<SigningAuthority>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("root", &self.root.fingerprint())
            .field("signing", &self.signing.load())
            .finish_non_exhaustive()
    }
}

impl Authorities {
    /// Loads what is there; makes what a first start lacks. `in_use` says that something has been issued before.
    pub(crate) fn open(
        dir: Arc<PrivateDir>,
        trust_domain: &TrustDomain,
        profiles: Profiles,
        entropy: Arc<dyn Entropy>,
        now: SystemTime,
        in_use: bool,
    ) -> Result<Self, AuthoritiesError> {
        dir.remove_unfinished(&[ROOT_KEY, ROOT_CERTIFICATE, SIGNING, PREVIOUS, root_crl::FILE])?;
        let root = match load_root(&dir, trust_domain, now)? {
            Some(root) => root,
            None if in_use || dir.read_secret(SIGNING)?.is_some() => {
                return Err(AuthoritiesError::RootMissing { path: dir.file(ROOT_CERTIFICATE) });
            }
            None => make_root(&dir, trust_domain, &profiles, now, &*entropy)?,
        };
        let signing = match load_signing(&dir, SIGNING, trust_domain, &root)? {
            Some(signing) if signing.not_after() > now => signing,
            _ => make_signing(&dir, trust_domain, &profiles, &root, now, &*entropy)?,
        };
        let previous = load_previous(&dir, trust_domain, &root, now)?;
        let (signing, previous) = (ArcSwap::from_pointee(signing), ArcSwapOption::from_pointee(previous));
        Ok(Self { dir, trust_domain: trust_domain.clone(), profiles, entropy, root, signing, previous })
    }

    /// The root's certificate: the content of the bundle.
    pub(crate) fn root(&self) -> &Authority {
        &self.root
    }

    /// The authority that signs SVIDs at this moment.
    pub(crate) fn signing(&self) -> Arc<SigningAuthority> {
        self.signing.load_full()
    }

    /// The signing authority before the current one, if any.
    pub(crate) fn previous_signing(&self) -> Option<Arc<SigningAuthority>> {
        self.previous.load_full()
    }

    /// The root's revocation list with these entries, as DER; `None`: its key is away, and no list was signed before. Reads
    /// and writes files.
    pub(crate) fn root_crl(
        &self,
        entries: Vec<CrlEntry>,
        number: u128,
        this_update: SystemTime,
    ) -> Result<Option<Vec<u8>>, AuthoritiesError> {
        let load = || Ok(load_key(&self.dir, ROOT_KEY)?.map(|key| (self.trust_domain.clone(), key)));
        root_crl::current(&self.dir, &self.root, load, entries, number, this_update)
    }

    /// The profiles.
    pub(crate) fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The source of randomness.
    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    /// Puts a new signing authority, with a new key, in place of the current one. It is on disk before it is used; on an
    /// error the current one stays. Reads and writes files.
    pub(crate) fn renew_signing(&self, now: SystemTime) -> Result<Arc<SigningAuthority>, AuthoritiesError> {
        let (dir, domain) = (&self.dir, &self.trust_domain);
        // First: a crash in between leaves the same authority in both files, which does no harm.
        if let Some(text) = dir.read_secret(SIGNING)? {
            dir.write_secret(PREVIOUS, &text)?;
        }
        let fresh = make_signing(dir, domain, &self.profiles, &self.root, now, &*self.entropy)?;
        let fresh = Arc::new(fresh);
        self.previous.store(Some(self.signing.swap(Arc::clone(&fresh))));
        tracing::info!(
            subject = fresh.certificate().subject(),
            serial = fresh.certificate().serial(),
            "the signing authority has been renewed"
        );
        Ok(fresh)
    }
}

fn load_root(
    dir: &PrivateDir,
    trust_domain: &TrustDomain,
    now: SystemTime,
) -> Result<Option<Authority>, AuthoritiesError> {
    let path = dir.file(ROOT_CERTIFICATE);
    let Some(text) = dir.read_public(ROOT_CERTIFICATE)? else { return Ok(None) };
    let root = root_of(&path, &text, trust_domain)?;
    let ca_error = |source| AuthoritiesError::Authority { path: path.clone(), source };
    if root.not_after() <= now {
        return Err(AuthoritiesError::RootExpired { path });
    }
    if root.not_before() > now {
        return Err(AuthoritiesError::RootNotYetValid { path });
    }
    // Checked at start, so that a key of another certificate is found before it is needed to sign.
    if let Some(key) = load_key(dir, ROOT_KEY)? {
        Root::load(trust_domain, root.der(), key).map_err(ca_error)?;
    }
    Ok(Some(root))
}

/// The root that a file holds, if it is one of the trust domain.
fn root_of(
    path: &std::path::Path,
    text: &[u8],
    trust_domain: &TrustDomain,
) -> Result<Authority, AuthoritiesError> {
    let der = first_certificate(text, path)?;
    let ca_error = |source| AuthoritiesError::Authority { path: path.to_owned(), source };
    let root = Authority::parse(&der).map_err(|error| ca_error(error.into()))?;
    if root.spiffe_id().is_none_or(|id| id.trust_domain() != trust_domain) {
        return Err(ca_error(CaError::TrustDomain(trust_domain.clone())));
    }
    Ok(root)
}

/// Refuses a data directory whose root is another trust domain's. Opens nothing for writing, and looks at no key; what is
/// not there yet is made at the first start.
pub(crate) fn examine(
    data_dir: &std::path::Path,
    trust_domain: &TrustDomain,
) -> Result<(), AuthoritiesError> {
    let path = data_dir.join(ROOT_CERTIFICATE);
    match avouch_files::read(&path, avouch_files::SECRET_LIMIT) {
        Ok(text) => root_of(&path, &text, trust_domain).map(|_| ()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(PrivateDirError::Io { action: "read", path, source }.into()),
    }
}

/// Makes the root. The key is written to disk first: a crash in between leaves a key for which no certificate was
/// published.
fn make_root(
    dir: &PrivateDir,
    trust_domain: &TrustDomain,
    profiles: &Profiles,
    now: SystemTime,
    entropy: &dyn Entropy,
) -> Result<Authority, AuthoritiesError> {
    let key = PrivateKey::generate()
        .map_err(|source| AuthoritiesError::Key { path: dir.file(ROOT_KEY), source })?;
    dir.write_secret(ROOT_KEY, key.to_pkcs8_pem().as_bytes())?;
    let root = Root::create(trust_domain, &profiles.root, key, now, entropy)
        .map_err(|source| AuthoritiesError::Authority { path: dir.file(ROOT_CERTIFICATE), source })?;
    let certificate = root.certificate().clone();
    dir.write_public(ROOT_CERTIFICATE, pem::write_certificates([certificate.der()]).as_bytes())?;
    tracing::info!(
        subject = certificate.subject(),
        sha256 = certificate.fingerprint(),
        "a root has been made"
    );
    Ok(certificate)
}

fn load_signing(
    dir: &PrivateDir,
    name: &str,
    trust_domain: &TrustDomain,
    root: &Authority,
) -> Result<Option<SigningAuthority>, AuthoritiesError> {
    let path = dir.file(name);
    let Some(text) = dir.read_secret(name)? else { return Ok(None) };
    let der = first_certificate(&text, &path)?;
    let Some(key) = load_key(dir, name)? else { return Ok(None) };
    let bundle = Bundle::new(trust_domain.clone(), vec![root.clone()], 0);
    SigningAuthority::load(&bundle, &der, key)
        .map(Some)
        .map_err(|source| AuthoritiesError::Authority { path, source })
}

/// The signing authority before, while it is valid. Its key is deleted afterwards.
fn load_previous(
    dir: &PrivateDir,
    trust_domain: &TrustDomain,
    root: &Authority,
    now: SystemTime,
) -> Result<Option<SigningAuthority>, AuthoritiesError> {
    match load_signing(dir, PREVIOUS, trust_domain, root) {
        Ok(Some(previous)) if previous.not_after() <= now => {
            dir.remove(PREVIOUS)?;
            Ok(None)
        }
        // Nothing is issued by it, so that a damaged file is no reason not to start.
        Err(error @ (AuthoritiesError::NotPem { .. } | AuthoritiesError::Authority { .. })) => {
            tracing::warn!(error = %avouch_text::with_causes(&error), "the signing authority before signs no revocation lists");
            Ok(None)
        }
        loaded => loaded,
    }
}

fn make_signing(
    dir: &PrivateDir,
    trust_domain: &TrustDomain,
    profiles: &Profiles,
    root: &Authority,
    now: SystemTime,
    entropy: &dyn Entropy,
) -> Result<SigningAuthority, AuthoritiesError> {
    let path = dir.file(SIGNING);
    let root_key = load_key(dir, ROOT_KEY)?
        .ok_or_else(|| AuthoritiesError::RootKeyMissing { path: dir.file(ROOT_KEY) })?;
    let root = Root::load(trust_domain, root.der(), root_key)
        .map_err(|source| AuthoritiesError::Authority { path: dir.file(ROOT_CERTIFICATE), source })?;
    let key =
        PrivateKey::generate().map_err(|source| AuthoritiesError::Key { path: path.clone(), source })?;
    let key_pem = key.to_pkcs8_pem();
    let signing = SigningAuthority::create(&root, &profiles.signing_authority, key, now, entropy)
        .map_err(|source| AuthoritiesError::Authority { path, source })?;
    let mut text = Zeroizing::new(pem::write_certificates([signing.certificate().der()]));
    text.reserve_exact(key_pem.len());
    text.push_str(&key_pem);
    dir.write_secret(SIGNING, text.as_bytes())?;
    Ok(signing)
}

fn load_key(dir: &PrivateDir, name: &str) -> Result<Option<PrivateKey>, AuthoritiesError> {
    let Some(text) = dir.read_secret(name)? else { return Ok(None) };
    let path = dir.file(name);
    match PrivateKey::from_pkcs8_pem(&text) {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::Pem(fault)) => Err(AuthoritiesError::NotPem { path, fault }),
        Err(source) => Err(AuthoritiesError::Key { path, source }),
    }
}

fn first_certificate(text: &[u8], path: &std::path::Path) -> Result<Vec<u8>, AuthoritiesError> {
    let certificates =
        pem::certificates(text).map_err(|fault| AuthoritiesError::NotPem { path: path.to_owned(), fault })?;
    Ok(certificates.first().map(|der| der.to_vec()).unwrap_or_default()) // never empty
}

#[cfg(test)]
mod tests;
