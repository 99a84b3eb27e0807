//! The state that a workload keeps between runs: its SVID with key, the key of a pending request, its bundle, and its trust
//! state.
//!
//! Every file is replaced whole and is its owner's alone. SVID and key are one file, so one is never replaced without
//! the other. A key is on disk before it is used: a crash between request and answer loses nothing, since the same
//! request is made again.
//!
//! The files are trusted: whoever could put a key there would have it certified as ours, whoever could put a bundle
//! there would be trusted. So a file of another owner, or one that others can reach, ends the start; it is not ignored.
//!
//! A trust state that cannot be read is not ignored either: its revocations may be all that keeps somebody out. Whoever
//! loads it has to ask the issuer first.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use avouch_files::{PrivateDir, PrivateDirError, pem as text};
use avouch_spiffe::{Bundle, TrustDomain};
use avouch_text::with_causes;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::error::IdentityError;
use super::key::SvidKey;
use super::pem;
use super::trust_update::HeldTrust;
use crate::svid::Svid;

const SVID: &str = "svid.pem";
const PENDING_KEY: &str = "pending-key.pem";
const BUNDLE: &str = "bundle.json";
const TRUST: &str = "trust-state.bin";
const LOCK: &str = "lock";

/// The temporary files that a process leaves when it is killed while it writes, under the names of this version and of
/// older ones. They may hold a key that nothing uses any more.
const UNFINISHED: [&str; 7] = [
    ".trust-state.bin.new",
    ".svid.pem.new",
    ".pending-key.pem.new",
    ".bundle.json.new",
    "svid.new",
    "pending-key.new",
    "bundle.new",
];

/// A workload's state directory, or nothing but memory.
pub(super) struct State {
    /// The directory, whose lock keeps a second process away; `None`: memory only.
    dir: Option<PrivateDir>,
    /// The trust state on disk, and the trust domain that it is of.
    on_disk: Mutex<Option<(TrustDomain, HeldTrust)>>,
}

/// The state that an earlier run left.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) svid: Option<(Svid, SvidKey)>,
    pub(super) bundle: Option<Bundle>,
    pub(super) pending: Option<SvidKey>,
    pub(super) trust: StoredTrust,
}

/// The trust state that an earlier run left.
#[derive(Default)]
pub(super) enum StoredTrust {
    /// None: this is the first run, or the last one was of a version that knew none.
    #[default]
    Absent,
    /// A trust state, and the own trust domain that it is of.
    Held(TrustDomain, HeldTrust),
    /// One that cannot be read: the SVID must not be used before the issuer has answered.
    Damaged,
}

impl State {
    pub(super) fn open(dir: Option<PathBuf>) -> Result<Self, IdentityError> {
        let Some(dir) = dir else { return Ok(Self { dir: None, on_disk: Mutex::default() }) };
        let state = Self { dir: Some(PrivateDir::open(&dir, LOCK)?), on_disk: Mutex::default() };
        UNFINISHED.iter().for_each(|name| state.remove(name));
        Ok(state)
    }

    /// The place of the state, for messages.
    pub(super) fn place(&self) -> String {
        match &self.dir {
            Some(dir) => dir.path().display().to_string(),
            None => "memory (no state_dir is configured)".to_owned(),
        }
    }

    /// Reads what is there. A file that can't be used is set aside in favour of a new one, and said so.
    ///
    /// # Errors
    /// When a file is somebody else's, or others can reach it.
    pub(super) fn load(&self) -> Result<Stored, IdentityError> {
        let Some(dir) = &self.dir else { return Ok(Stored::default()) };
        let svid = usable(dir, SVID, PrivateDir::read_secret, load_svid)?;
        let bundle = match &svid {
            Some((svid, _)) => usable(dir, BUNDLE, PrivateDir::read_public, |path, bytes: &Vec<u8>| {
                pem::bundle(path, bytes, svid.spiffe_id().trust_domain())
            })?,
            None => None,
        };
        let pending = usable(dir, PENDING_KEY, PrivateDir::read_secret, |path, bytes| {
            SvidKey::from_der(&pem::private_key(path, bytes)?)
        })?;
        let trust = load_trust(dir)?;
        if let StoredTrust::Held(own, held) = &trust {
            let on_disk = Some((own.clone(), held.clone()));
            *self.on_disk.lock().unwrap_or_else(PoisonError::into_inner) = on_disk;
        }
        Ok(Stored { svid, bundle, pending, trust })
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
        let (key, chain) = (key.to_pem(), text::write_certificates(svid.chain().iter().map(AsRef::as_ref)));
        // Room for both at once: growing would leave copies of the key behind.
        let mut contents = Zeroizing::new(String::with_capacity(key.len() + chain.len()));
        contents.push_str(&key);
        contents.push_str(&chain);
        self.write(SVID, contents.as_bytes())?;
        self.remove(PENDING_KEY);
        Ok(())
    }

    /// Puts a trust state to disk, and the own bundle of it. A state that is older than the one on disk is not written.
    pub(super) fn store_trust(&self, held: &HeldTrust, own: &TrustDomain) -> Result<(), IdentityError> {
        let mut on_disk = self.on_disk.lock().unwrap_or_else(PoisonError::into_inner);
        let before = on_disk.as_ref().filter(|(domain, _)| domain == own).map(|(_, held)| held);
        if before.is_some_and(|before| before == held || before.generation() > held.generation()) {
            return Ok(());
        }
        let bundle = held.state().bundles.get(own);
        // The bundle first: at the start the later of the two own bundles is used, so a crash in between loses nothing.
        if let Some(bundle) = bundle.filter(|_| before.and_then(|it| it.state().bundles.get(own)) != bundle) {
            self.store_bundle(bundle)?;
        }
        self.write(TRUST, &held.to_bytes(own))?;
        *on_disk = Some((own.clone(), held.clone()));
        Ok(())
    }

    pub(super) fn store_bundle(&self, bundle: &Bundle) -> Result<(), IdentityError> {
        self.write(BUNDLE, bundle.to_json().as_bytes())
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<(), IdentityError> {
        match &self.dir {
            Some(dir) => Ok(dir.write_secret(name, contents)?),
            None => Ok(()),
        }
    }

    fn remove(&self, name: &str) {
        if let Some(dir) = &self.dir
            && let Err(error) = dir.remove(name)
        {
            tracing::warn!(error = %with_causes(&error), "a file of the identity's state could not be removed");
        }
    }
}

/// The value parsed from a file; `None` if it is not there, or cannot be used.
fn usable<B, T>(
    dir: &PrivateDir,
    name: &str,
    read: impl FnOnce(&PrivateDir, &str) -> Result<Option<B>, PrivateDirError>,
    parse: impl FnOnce(&std::path::Path, &B) -> Result<T, IdentityError>,
) -> Result<Option<T>, IdentityError> {
    let unusable = |error: IdentityError| {
        tracing::error!(error = %with_causes(&error), "a file of the identity's state cannot be used");
    };
    match read(dir, name) {
        Ok(Some(bytes)) => Ok(parse(&dir.file(name), &bytes).map_err(unusable).ok()),
        Ok(None) => Ok(None),
        Err(error @ PrivateDirError::Io { .. }) => {
            unusable(error.into());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn load_trust(dir: &PrivateDir) -> Result<StoredTrust, IdentityError> {
    let read = match dir.read_public(TRUST) {
        Ok(Some(bytes)) => HeldTrust::from_bytes(&bytes).map_err(|error| {
            pem::content(&dir.file(TRUST), "a trust state", with_causes(&error).to_string())
        }),
        Ok(None) => return Ok(StoredTrust::Absent),
        Err(error @ PrivateDirError::Io { .. }) => Err(error.into()),
        Err(error) => return Err(error.into()),
    };
    Ok(match read {
        Ok((own, held)) => StoredTrust::Held(own, held),
        Err(error) => {
            tracing::error!(
                error = %with_causes(&error),
                "the stored trust state cannot be read, and with it the revocations are lost: the stored SVID is not used \
                 until the issuer has sent the whole state"
            );
            StoredTrust::Damaged
        }
    })
}

fn load_svid(path: &std::path::Path, bytes: &Zeroizing<Vec<u8>>) -> Result<(Svid, SvidKey), IdentityError> {
    let key: PrivateKeyDer<'static> = pem::private_key(path, bytes)?;
    let svid = Svid::new(pem::certificates(path, bytes)?, &key)?;
    Ok((svid, SvidKey::from_der(&key)?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    fn opened(temp: &tempfile::TempDir) -> (State, PathBuf) {
        let path = temp.path().join("state");
        (State::open(Some(path.clone())).unwrap(), path)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_key_of_a_request_survives_and_is_its_owners_alone() {
        let temp = tempfile::tempdir().unwrap();
        let (state, path) = opened(&temp);
        let key = SvidKey::generate().unwrap();
        state.store_pending(&key).unwrap();
        let mode = fs::metadata(path.join(PENDING_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let loaded = state.load().unwrap().pending.unwrap();
        assert_eq!(*loaded.to_pem(), *key.to_pem());
    }

    #[test]
    fn a_key_is_not_written_into_what_somebody_has_put_under_a_temporary_name() {
        let temp = tempfile::tempdir().unwrap();
        let (state, path) = opened(&temp);
        let theirs = temp.path().join("theirs");
        for name in UNFINISHED {
            fs::write(&theirs, "").unwrap();
            set_mode(&theirs, 0o666);
            for plant in [
                |from: &Path, to: &Path| fs::hard_link(from, to),
                |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to),
            ] {
                plant(&theirs, &path.join(name)).unwrap();
                state.store_pending(&SvidKey::generate().unwrap()).unwrap();
                assert_eq!(fs::read(&theirs).unwrap(), b"", "{name}: the key is in a file of somebody else");
                let _ = fs::remove_file(path.join(name)); // of the older names, which nobody writes any more
            }
        }
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_it_finished_stays() {
        let temp = tempfile::tempdir().unwrap();
        let (state, path) = opened(&temp);
        state.store_pending(&SvidKey::generate().unwrap()).unwrap();
        drop(state);
        for name in UNFINISHED {
            fs::write(path.join(name), "-----BEGIN PRIV").unwrap();
        }
        let (state, _) = opened(&temp);
        let mut left: Vec<_> = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [LOCK, PENDING_KEY]);
        assert!(state.load().unwrap().pending.is_some());
    }

    #[test]
    fn a_key_or_an_svid_that_others_can_reach_ends_the_start_and_is_not_read_over() {
        for name in [PENDING_KEY, SVID] {
            for mode in [0o604, 0o640, 0o660, 0o602] {
                let temp = tempfile::tempdir().unwrap();
                let (state, path) = opened(&temp);
                state.write(name, SvidKey::generate().unwrap().to_pem().as_bytes()).unwrap();
                set_mode(&path.join(name), mode);
                let error = state.load().map(|_| ()).unwrap_err();
                assert!(
                    matches!(&error, IdentityError::State(PrivateDirError::SecretOpen { mode: found, .. }) if *found == mode),
                    "{name} {mode:o}: {error:?}"
                );
                assert!(error.to_string().contains("replace the secret"), "{error}");
            }
        }
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused_and_chmod_alone_is_said_not_to_be_enough() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("state");
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o755);
        let error = State::open(Some(path)).map(|_| ()).unwrap_err();
        assert!(matches!(error, IdentityError::State(PrivateDirError::DirectoryOpen { .. })), "{error:?}");
        assert!(error.to_string().contains("does not take back"), "{error}");
    }

    #[test]
    fn a_file_that_makes_no_key_is_as_if_it_were_not_there_and_none_of_it_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let (state, path) = opened(&temp);
        let joined = SvidKey::generate().unwrap().to_pem().replace('\n', " ");
        state.write(PENDING_KEY, joined.as_bytes()).unwrap();
        assert!(state.load().unwrap().pending.is_none());
        let error = pem::private_key(&path, joined.as_bytes()).unwrap_err();
        let body: String = joined.split("-----").nth(2).unwrap().split_whitespace().collect();
        let said = format!("{error} {error:?} {}", with_causes(&error));
        assert!(said.contains("line breaks are missing") && !said.contains(&body[..16]), "{said}");
    }

    #[test]
    fn a_fifo_in_the_place_of_a_file_does_not_stop_the_start() {
        let temp = tempfile::tempdir().unwrap();
        let (state, path) = opened(&temp);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path.join(SVID), fifo, 0o600.into(), 0).unwrap();
        assert!(state.load().unwrap().svid.is_none());
    }
}
