//! `certs/dev/`: the bundle and a current client SVID as PEM files, for openssl and curl.
//!
//! The files follow the identity of whoever holds them: each new SVID replaces them, key and certificate together
//! as well as two files can. The key is readable by its owner alone, and the directory is not under version control.

use std::io;
use std::path::PathBuf;

use avouch_files::{SECRET_LIMIT, create_private_dir, pem, write_public, write_secret};
use avouch_identity::Identity;
use avouch_spiffe::TrustDomain;
use avouch_text::with_causes;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct DevFiles {
    dir: PathBuf,
    // Where the identity keeps its key.
    state: PathBuf,
}

impl DevFiles {
    /// Files in `dir`, of an identity whose state directory is `state`.
    ///
    /// # Errors
    /// When the directory can't be made, or is not its owner's alone.
    pub fn new(dir: PathBuf, state: PathBuf) -> io::Result<Self> {
        create_private_dir(&dir).map_err(|error| io::Error::other(with_causes(&error).to_string()))?;
        Ok(Self { dir, state })
    }

    /// Writes the identity's present state.
    ///
    /// # Errors
    /// When a file can't be read or written.
    pub fn write(&self, identity: &Identity, trust_domain: &TrustDomain) -> io::Result<()> {
        let snapshot = identity.snapshot();
        let own = snapshot.trust.bundles().get(trust_domain);
        let roots = own.into_iter().flat_map(|own| own.authorities()).map(|authority| authority.der());
        write_public(&self.dir.join("bundle.pem"), pem::write_certificates(roots).as_bytes())?;
        self.write_svid()
    }

    fn write_svid(&self) -> io::Result<()> {
        let path = self.state.join("svid.pem");
        let stored = avouch_files::read(&path, SECRET_LIMIT)?;
        let named =
            |error: pem::PemError| io::Error::other(format!("{}: {}", path.display(), error.describe(&path)));
        let key = pem::private_key(&stored).map_err(named)?;
        let chain = pem::certificates(&stored).map_err(named)?;
        // The state keeps keys as PKCS#8.
        let key = pem::encode_secret("PRIVATE KEY", key.secret_der());
        write_secret(&self.dir.join("svid.key"), key.as_bytes())?;
        write_public(
            &self.dir.join("svid.pem"),
            pem::write_certificates(chain.iter().map(AsRef::as_ref)).as_bytes(),
        )
    }

    /// Writes it now and after each renewal, until dropped.
    pub async fn keep(&self, identity: Identity, trust_domain: &TrustDomain) -> io::Result<()> {
        let mut states = identity.subscribe();
        while states.changed().await.is_ok() {
            self.write(&identity, trust_domain)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    fn files(stored: &str) -> (tempfile::TempDir, DevFiles) {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::fs::write(state.join("svid.pem"), stored).unwrap();
        let files = DevFiles::new(temp.path().join("dev"), state).unwrap();
        (temp, files)
    }

    fn key() -> String {
        pem::encode("PRIVATE KEY", &[7; 100])
    }

    fn chain() -> String {
        pem::write_certificates([&[1; 100][..], &[2; 100]])
    }

    #[test]
    fn key_and_chain_are_told_apart_and_the_key_is_its_owners_alone() {
        for stored in [format!("{}{}", key(), chain()), format!("{}{}", chain(), key())] {
            let (_temp, files) = files(&stored);
            files.write_svid().unwrap();
            assert_eq!(std::fs::read_to_string(files.dir.join("svid.key")).unwrap(), key());
            assert_eq!(std::fs::read_to_string(files.dir.join("svid.pem")).unwrap(), chain());
            assert_eq!(std::fs::metadata(files.dir.join("svid.key")).unwrap().mode() & 0o7777, 0o600);
        }
    }

    #[test]
    fn what_is_not_whole_is_named_without_an_octet_of_it() {
        let joined = format!("{}{}", key().replace('\n', " "), chain());
        for (stored, named) in [(key(), "certificate"), (chain(), "private key"), (joined, "line breaks")] {
            let (_temp, files) = files(&stored);
            let error = files.write_svid().unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("BwcHBwcHBwc"), "{error}");
        }
    }

    #[test]
    fn nobody_gets_the_key_by_a_link_in_its_place() {
        let (temp, files) = files(&format!("{}{}", key(), chain()));
        let theirs = temp.path().join("theirs");
        std::fs::write(&theirs, "").unwrap();
        for name in ["svid.key", ".svid.key.new"] {
            symlink(&theirs, files.dir.join(name)).unwrap();
        }
        files.write_svid().unwrap();
        assert_eq!(std::fs::read(&theirs).unwrap(), b"");
    }
}
