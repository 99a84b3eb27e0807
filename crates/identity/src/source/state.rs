//! What a workload keeps between runs: its SVID with key, the key of a request under way, its bundle.
//!
//! Every file is replaced atomically and readable by its owner alone. SVID and key are one file, so they can't fall
//! apart. A key is on disk before it is used: a crash between asking and receiving loses nothing, since the same
//! request is made again.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use avouch_spiffe::Bundle;
use avouch_text::with_causes;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::key::SvidKey;
use super::{IdentityError, pem};
use crate::svid::Svid;

const SVID: &str = "svid.pem";
const PENDING_KEY: &str = "pending-key.pem";
const BUNDLE: &str = "bundle.json";

/// A workload's state directory, or nothing but memory.
pub(super) struct State {
    dir: Option<PathBuf>,
    /// Held so that no second process uses the directory.
    _lock: Option<std::fs::File>,
}

/// What an earlier run left.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) svid: Option<(Svid, SvidKey)>,
    pub(super) bundle: Option<Bundle>,
    pub(super) pending: Option<SvidKey>,
}

/// Refuses a state directory that is none, or that others can enter. One that is not there yet can be made.
pub(crate) fn examine(dir: &Path) -> io::Result<()> {
    let metadata = match std::fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                "a part of the path is not a directory",
            ));
        }
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!("others can enter it (mode {:o}); run `chmod 700` on it", mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

impl State {
    pub(super) fn open(dir: Option<PathBuf>) -> Result<Self, IdentityError> {
        let Some(dir) = dir else { return Ok(Self { dir: None, _lock: None }) };
        let at =
            |source| IdentityError::File { action: "open the state directory", path: dir.clone(), source };
        // Before it is made: what cannot be a directory is refused with its own words.
        examine(&dir).map_err(at)?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(at)?;
        examine(&dir).map_err(at)?;
        let lock = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(dir.join("lock"))
            .map_err(at)?;
        lock.try_lock().map_err(|error| {
            let message = format!("another process uses it as its identity's state ({error})");
            at(io::Error::new(io::ErrorKind::WouldBlock, message))
        })?;
        Ok(Self { dir: Some(dir), _lock: Some(lock) })
    }

    /// Where the state is, for messages.
    pub(super) fn place(&self) -> String {
        match &self.dir {
            Some(dir) => dir.display().to_string(),
            None => "memory (no state_dir is configured)".to_owned(),
        }
    }

    /// Reads what is there. A file that can't be used is set aside in favour of a new one, and said so.
    pub(super) fn load(&self) -> Stored {
        let Some(dir) = &self.dir else { return Stored::default() };
        let svid = usable(dir, SVID, load_svid);
        let bundle = svid.as_ref().and_then(|(svid, _)| {
            usable(dir, BUNDLE, |path, bytes| pem::bundle(path, bytes, svid.spiffe_id().trust_domain()))
        });
        let pending =
            usable(dir, PENDING_KEY, |path, bytes| SvidKey::from_der(&pem::private_key(path, bytes)?));
        Stored { svid, bundle, pending }
    }

    /// Puts the key of a request to disk before it is used.
    pub(super) fn store_pending(&self, key: &SvidKey) -> Result<(), IdentityError> {
        self.write(PENDING_KEY, key.to_pem().as_bytes())
    }

    /// Puts a new SVID and bundle into place and forgets the pending key.
    pub(super) fn store_svid(
        &self,
        svid: &Svid,
        key: &SvidKey,
        bundle: &Bundle,
    ) -> Result<(), IdentityError> {
        // The bundle first: an SVID without a bundle cannot reach the issuer, a bundle without an SVID is harmless.
        self.store_bundle(bundle)?;
        let mut contents = key.to_pem();
        for certificate in svid.chain() {
            contents.push_str(&pem::encode_certificate(certificate));
        }
        self.write(SVID, contents.as_bytes())?;
        self.remove(PENDING_KEY);
        Ok(())
    }

    pub(super) fn store_bundle(&self, bundle: &Bundle) -> Result<(), IdentityError> {
        self.write(BUNDLE, bundle.to_json().as_bytes())
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<(), IdentityError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let path = dir.join(name);
        replace(dir, &path, contents).map_err(|source| IdentityError::File { action: "write", path, source })
    }

    fn remove(&self, name: &str) {
        if let Some(dir) = &self.dir
            && let Err(error) = std::fs::remove_file(dir.join(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, name, "a file of the identity's state could not be removed");
        }
    }
}

fn usable<T>(
    dir: &Path,
    name: &str,
    parse: impl FnOnce(&Path, &[u8]) -> Result<T, IdentityError>,
) -> Option<T> {
    let path = dir.join(name);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a file of the identity's state cannot be read");
            return None;
        }
    };
    parse(&path, &bytes)
        .inspect_err(|error| {
            let error = with_causes(error);
            tracing::error!(path = %path.display(), %error, "a file of the identity's state cannot be used");
        })
        .ok()
}

fn load_svid(path: &Path, bytes: &[u8]) -> Result<(Svid, SvidKey), IdentityError> {
    let key: PrivateKeyDer<'static> = pem::private_key(path, bytes)?;
    let svid = Svid::new(pem::certificates(path, bytes)?, &key)?;
    Ok((svid, SvidKey::from_der(&key)?))
}

/// Writes a file so that after a crash there is the old one or the new one, whole.
fn replace(dir: &Path, path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(dir)?.sync_all()
}
