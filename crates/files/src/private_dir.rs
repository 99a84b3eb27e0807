//! A directory of secrets for one process of one user.
//!
//! It refuses: a directory that anybody but its owner can enter, one of another user, a second process on it, a secret in it
//! that others can read or that belongs to somebody else. Invariant: a file is replaced whole or not at all, and is on disk
//! before the call returns.

use std::fs::{DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::access::{check_owner, effective_uid};
use crate::error::{PrivateDirError, io_error};
use crate::new_file::{IfExists, NewFile};
use crate::private_file::open_lock;
use crate::read::read_with_metadata;
use crate::{BUNDLE_LIMIT, SECRET_LIMIT};

/// An open directory of secrets. Holds its lock until dropped; the system releases it when the process dies, however it
/// dies.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    _lock: File,
}

impl PrivateDir {
    /// Creates the directory where it is missing (mode 0700), checks it, and locks it by the file `lock` in it.
    ///
    /// # Errors
    /// See [`PrivateDirError`].
    pub fn open(path: &Path, lock: &str) -> Result<Self, PrivateDirError> {
        create_private_dir(path)?;
        let lock_path = path.join(lock);
        let lock = open_lock(&lock_path).map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(PrivateDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => {
                Err(PrivateDirError::Io { action: "lock", path: lock_path, source })
            }
        }
    }

    /// The directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file that holds a secret; `None`: it does not exist.
    ///
    /// # Errors
    /// When it cannot be read, or is not its owner's alone.
    pub fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, PrivateDirError> {
        self.read(name, SECRET_LIMIT, |path, metadata| {
            let mode = check_owner(path, metadata)?;
            if mode & 0o077 == 0 {
                Ok(())
            } else {
                Err(PrivateDirError::SecretOpen { path: path.to_owned(), mode })
            }
        })
    }

    /// Reads a file that holds nothing secret, of at most [`BUNDLE_LIMIT`] octets; `None`: it does not exist.
    ///
    /// # Errors
    /// When it cannot be read, belongs to somebody else, or others can change it.
    pub fn read_public(&self, name: &str) -> Result<Option<Vec<u8>>, PrivateDirError> {
        let content = self.read(name, BUNDLE_LIMIT, |path, metadata| {
            let mode = check_owner(path, metadata)?;
            if mode & 0o022 == 0 {
                Ok(())
            } else {
                Err(PrivateDirError::PublicWritable { path: path.to_owned(), mode })
            }
        })?;
        Ok(content.map(|mut content| std::mem::take(&mut *content)))
    }

    fn read(
        &self,
        name: &str,
        limit: u64,
        check: impl FnOnce(&Path, &Metadata) -> Result<(), PrivateDirError>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, PrivateDirError> {
        let path = self.file(name);
        match read_with_metadata(&path, limit) {
            // The metadata of the file that was read, not of the path, which may lead to another file by now.
            Ok(content) => check(&path, &content.metadata).map(|()| Some(content.bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PrivateDirError::Io { action: "read", path, source }),
        }
    }

    /// Replaces a file that holds a secret (mode 0600).
    ///
    /// # Errors
    /// When it cannot be written; the old one stays.
    pub fn write_secret(&self, name: &str, content: &[u8]) -> Result<(), PrivateDirError> {
        self.write(name, content, 0o600)
    }

    /// Replaces a file that holds nothing secret (mode 0644).
    ///
    /// # Errors
    /// When it cannot be written; the old one stays.
    pub fn write_public(&self, name: &str, content: &[u8]) -> Result<(), PrivateDirError> {
        self.write(name, content, 0o644)
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), PrivateDirError> {
        let path = self.file(name);
        // One fixed name: the lock keeps a second writer away, and what a crash left is found and removed.
        let write = || {
            let file = NewFile::beside(&path, ".new", mode)?;
            file.set_mode(mode)?; // whatever the umask says
            file.keep(content, IfExists::Replace)
        };
        write().map_err(io_error("write", &path))
    }

    /// Removes the unfinished files of a process that was killed while it wrote, under the names of this version and of
    /// older ones: they may hold a key that nothing uses any more.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_unfinished(&self, names: &[&str]) -> Result<(), PrivateDirError> {
        for name in names {
            self.remove(&format!(".{name}.new"))?;
            self.remove(&format!("{name}.new"))?;
        }
        Ok(())
    }

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), PrivateDirError> {
        let path = self.file(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

/// Makes sure that `path` is a directory of ours that nobody else can enter, creating it and its parents.
///
/// # Errors
/// See [`PrivateDirError`].
pub fn create_private_dir(path: &Path) -> Result<(), PrivateDirError> {
    // Before it is created: a path that cannot be one gets its own error.
    examine_private_dir(path)?;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(PrivateDirError::Io { action: "create", path: path.to_owned(), source }),
    }
    examine_private_dir(path)
}

/// Refuses a directory that [`create_private_dir`] would refuse. Changes nothing; one that is not there can be made.
///
/// # Errors
/// See [`PrivateDirError`].
pub fn examine_private_dir(path: &Path) -> Result<(), PrivateDirError> {
    // Not following a symbolic link: in a shared temporary directory it may be somebody else's.
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(PrivateDirError::NotADirectory { path: path.parent().unwrap_or(path).to_owned() });
        }
        Err(source) => return Err(PrivateDirError::Io { action: "inspect", path: path.to_owned(), source }),
    };
    let metadata = if metadata.is_symlink() && metadata.uid() == effective_uid() {
        std::fs::metadata(path).map_err(io_error("inspect", path))?
    } else {
        metadata
    };
    if !metadata.is_dir() {
        return Err(PrivateDirError::NotADirectory { path: path.to_owned() });
    }
    let mode = check_owner(path, &metadata)?;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(PrivateDirError::DirectoryOpen { path: path.to_owned(), mode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    const LOCK: &str = "lock";

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_directory_and_its_secrets_are_for_the_owner_only() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b/issuer");
        let dir = PrivateDir::open(&path, LOCK).unwrap();
        dir.write_secret("root.key", b"secret").unwrap();
        dir.write_public("root.crt", b"public").unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&dir.file("root.key")), 0o600);
        assert_eq!(mode(&dir.file("root.crt")), 0o644);
        assert_eq!(mode(&dir.file(LOCK)), 0o600);
        assert_eq!(**dir.read_secret("root.key").unwrap().unwrap(), *b"secret");
        assert_eq!(dir.read_public("root.crt").unwrap().unwrap(), b"public");
        assert_eq!(dir.read_secret("absent").unwrap(), None);
    }

    #[test]
    fn a_file_is_replaced_and_a_leftover_of_a_crash_is_no_obstacle() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), LOCK).unwrap();
        std::fs::write(dir.file(".root.key.new"), b"half writt").unwrap();
        dir.write_secret("root.key", b"one").unwrap();
        dir.write_secret("root.key", b"two").unwrap();
        assert_eq!(**dir.read_secret("root.key").unwrap().unwrap(), *b"two");
        assert!(!dir.file(".root.key.new").exists());
        dir.remove("root.key").unwrap();
        dir.remove("root.key").unwrap();
        assert_eq!(dir.read_secret("root.key").unwrap(), None);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), LOCK).unwrap();
        for name in ["root.key", "root.key.new", ".root.key.new", "other.new"] {
            std::fs::write(dir.file(name), "").unwrap();
        }
        dir.remove_unfinished(&["root.key", "root.crt"]).unwrap();
        let left = |name: &str| dir.file(name).exists();
        assert!(left("root.key") && left("other.new"));
        assert!(!left("root.key.new") && !left(".root.key.new"));
    }

    #[test]
    fn a_link_that_was_put_there_gets_no_secret() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), LOCK).unwrap();
        let theirs = temp.path().join("theirs");
        std::fs::write(&theirs, "").unwrap();
        std::os::unix::fs::symlink(&theirs, dir.file(".svid.pem.new")).unwrap();
        std::os::unix::fs::symlink(&theirs, dir.file("svid.pem")).unwrap();
        dir.write_secret("svid.pem", b"secret").unwrap();
        assert_eq!(std::fs::read(&theirs).unwrap(), b"");
        assert!(std::fs::symlink_metadata(dir.file("svid.pem")).unwrap().is_file());
    }

    #[test]
    fn a_directory_open_to_others_is_refused_and_chmod_alone_is_said_not_to_be_enough() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        std::fs::create_dir(&path).unwrap();
        for open in [0o755, 0o750, 0o711, 0o777] {
            std::fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
            let error = PrivateDir::open(&path, LOCK).unwrap_err().to_string();
            for part in [format!("{open:04o}"), "chmod 0700".to_owned(), "replace keys".to_owned()] {
                assert!(error.contains(&part), "{error}");
            }
        }
    }

    #[test]
    fn a_secret_open_to_others_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), LOCK).unwrap();
        dir.write_secret("root.key", b"secret").unwrap();
        for open in [0o640, 0o604, 0o660, 0o622] {
            std::fs::set_permissions(dir.file("root.key"), Permissions::from_mode(open)).unwrap();
            let error = dir.read_secret("root.key").unwrap_err();
            assert!(matches!(error, PrivateDirError::SecretOpen { mode, .. } if mode == open), "{error:?}");
            assert!(error.to_string().contains("replace the secret"), "{error}");
        }
    }

    #[test]
    fn what_others_can_change_is_refused_though_it_is_no_secret() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), LOCK).unwrap();
        dir.write_public("bundle.json", b"{}").unwrap();
        for (mode, taken) in [(0o644, true), (0o444, true), (0o600, true), (0o664, false), (0o646, false)] {
            std::fs::set_permissions(dir.file("bundle.json"), Permissions::from_mode(mode)).unwrap();
            match dir.read_public("bundle.json") {
                Ok(content) => assert!(taken && content.unwrap() == b"{}", "{mode:o}"),
                Err(error) => {
                    assert!(!taken && error.to_string().contains("can change it"), "{mode:o}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_bundle_may_be_larger_than_a_secret_and_yet_has_its_limit() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), LOCK).unwrap();
        let most = usize::try_from(BUNDLE_LIMIT).unwrap();
        dir.write_public("bundle.json", &vec![b'x'; most]).unwrap();
        assert_eq!(dir.read_public("bundle.json").unwrap().unwrap().len(), most);
        assert!(dir.read_secret("bundle.json").is_err());
        dir.write_public("bundle.json", &vec![b'x'; most + 1]).unwrap();
        assert!(dir.read_public("bundle.json").is_err());
    }

    #[test]
    fn a_directory_is_examined_without_being_made() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        examine_private_dir(&path).unwrap();
        assert!(!path.exists());
        std::fs::write(temp.path().join("file"), "").unwrap();
        let below = examine_private_dir(&temp.path().join("file/d"));
        assert!(matches!(below, Err(PrivateDirError::NotADirectory { .. })), "{below:?}");
        create_private_dir(&path).unwrap();
        examine_private_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(
            examine_private_dir(&path),
            Err(PrivateDirError::DirectoryOpen { mode: 0o750, .. })
        ));
    }

    #[test]
    fn a_second_opener_is_refused_and_the_first_ones_end_frees_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        let first = PrivateDir::open(&path, LOCK).unwrap();
        assert!(matches!(PrivateDir::open(&path, LOCK), Err(PrivateDirError::InUse { .. })));
        drop(first);
        PrivateDir::open(&path, LOCK).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(PrivateDir::open(&path, LOCK), Err(PrivateDirError::NotADirectory { .. })));
    }

    #[test]
    fn an_enormous_file_and_one_that_is_no_file_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), LOCK).unwrap();
        dir.write_secret("root.key", &vec![b'x'; 70_000]).unwrap();
        assert!(matches!(dir.read_secret("root.key"), Err(PrivateDirError::Io { .. })));
        std::fs::create_dir(dir.file("svid.pem")).unwrap();
        assert!(matches!(dir.read_secret("svid.pem"), Err(PrivateDirError::Io { .. })));
        assert!(matches!(dir.write_secret("svid.pem", b"x"), Err(PrivateDirError::Io { .. })));
    }
}
