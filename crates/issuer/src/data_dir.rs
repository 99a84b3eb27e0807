//! The issuer's data directory: who may read it, who has it open, and how a file in it is replaced.
//!
//! Refuses: a directory or a key file that anybody but the owner can read, a directory of another user, a second
//! process on the same directory. Invariant: a file is replaced whole or not at all, and is on disk before the call
//! returns.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner have access.
    #[error(
        "{path} has mode {mode:04o}, so others than its owner can reach it; run: chmod {wanted:04o} {path}"
    )]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to user id {owner}, but this process runs as user id {user}")]
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The process's effective user.
        user: u32,
    },
    /// Another issuer works in it.
    #[error("another issuer process uses {path}; stop it first, or give this one its own data_dir")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It exists but is no directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// A file is far larger than what is ever written there.
    #[error("{path} is larger than {limit} bytes, which no key or certificate file is")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is read at most.
        limit: u64,
    },
}

/// Keys and certificates are a few hundred bytes; more than this is not ours.
const FILE_LIMIT: u64 = 64 * 1024;
const LOCK_FILE: &str = "issuer.lock";

/// An open data directory. Holds its lock until dropped; the system releases it when the process dies, however it dies.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory where it is missing (mode 0700), checks it, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create_private_dir(path)?;
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => {
                Err(DataDirError::Io { action: "lock", path: lock_path, source })
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file that holds a secret: refused unless only its owner can read it. `None`: it does not exist.
    pub fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, DataDirError> {
        Ok(read_checked(&self.path, name, Some(0o600))?.map(Zeroizing::new))
    }

    /// Reads a file that holds nothing secret. `None`: it does not exist.
    pub fn read_public(&self, name: &str) -> Result<Option<Vec<u8>>, DataDirError> {
        read_public(&self.path, name)
    }

    /// Replaces a file that holds a secret (mode 0600), atomically and durably.
    pub fn write_secret(&self, name: &str, content: &[u8]) -> Result<(), DataDirError> {
        replace(&self.file(name), content, 0o600)
    }

    /// Replaces a file that holds nothing secret (mode 0644), atomically and durably.
    pub fn write_public(&self, name: &str, content: &[u8]) -> Result<(), DataDirError> {
        replace(&self.file(name), content, 0o644)
    }
}

/// Reads a file of a data directory that need not be open. `None`: it does not exist.
pub(crate) fn read_public(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, DataDirError> {
    read_checked(dir, name, None)
}

fn read_checked(dir: &Path, name: &str, wanted: Option<u32>) -> Result<Option<Vec<u8>>, DataDirError> {
    let path = dir.join(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DataDirError::Io { action: "open", path, source }),
    };
    if let Some(wanted) = wanted {
        // Of the open file, not of the path: what is checked is what is read.
        let metadata = file.metadata().map_err(io_error("inspect", &path))?;
        check_private(&path, &metadata, wanted)?;
    }
    let mut content = Vec::with_capacity(4096); // roomy: growing would leave copies of a key behind
    file.take(FILE_LIMIT + 1).read_to_end(&mut content).map_err(io_error("read", &path))?;
    if content.len() as u64 > FILE_LIMIT {
        return Err(DataDirError::TooLarge { path, limit: FILE_LIMIT });
    }
    Ok(Some(content))
}

/// Refuses a directory that [`create_private_dir`] would refuse, and makes none: one that is not there can be made.
pub(crate) fn examine_private_dir(path: &Path) -> Result<(), DataDirError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => check_private_dir(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(DataDirError::NotADirectory { path: path.parent().unwrap_or(path).to_owned() })
        }
        Err(source) => Err(DataDirError::Io { action: "inspect", path: path.to_owned(), source }),
    }
}

/// Makes sure that `path` is a directory of ours with mode 0700 (or stricter), creating it and its parents.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), DataDirError> {
    // Before it is made: what cannot be one is refused with its own words.
    examine_private_dir(path)?;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(DataDirError::Io { action: "create", path: path.to_owned(), source }),
    }
    check_private_dir(path)
}

fn check_private_dir(path: &Path) -> Result<(), DataDirError> {
    // Not following a symbolic link: in a shared temporary directory it may be somebody else's.
    let metadata = std::fs::symlink_metadata(path).map_err(io_error("inspect", path))?;
    let metadata = if metadata.is_symlink() && metadata.uid() == effective_uid() {
        std::fs::metadata(path).map_err(io_error("inspect", path))?
    } else {
        metadata
    };
    if !metadata.is_dir() {
        return Err(DataDirError::NotADirectory { path: path.to_owned() });
    }
    check_private(path, &metadata, 0o700)
}

fn check_private(path: &Path, metadata: &std::fs::Metadata, wanted: u32) -> Result<(), DataDirError> {
    let (owner, user) = (metadata.uid(), effective_uid());
    if owner != user {
        return Err(DataDirError::ForeignOwner { path: path.to_owned(), owner, user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::TooOpen { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

/// The effective user id of this process.
pub(crate) fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), DataDirError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?; // whatever the umask says
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(io_error("write", path))
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataDirError + 'a {
    move |source| DataDirError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_directory_and_its_secrets_are_for_the_owner_only() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b/issuer");
        let dir = DataDir::open(&path).unwrap();
        dir.write_secret("root.key", b"secret").unwrap();
        dir.write_public("root.crt", b"public").unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&dir.file("root.key")), 0o600);
        assert_eq!(mode(&dir.file("root.crt")), 0o644);
        assert_eq!(mode(&dir.file(LOCK_FILE)), 0o600);
        assert_eq!(**dir.read_secret("root.key").unwrap().unwrap(), *b"secret");
        assert_eq!(dir.read_public("root.crt").unwrap().unwrap(), b"public");
        assert_eq!(dir.read_secret("absent").unwrap(), None);
    }

    #[test]
    fn a_file_is_replaced_and_a_leftover_of_a_crash_is_no_obstacle() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&temp.path().join("d")).unwrap();
        std::fs::write(dir.file("root.key.new"), b"half writt").unwrap();
        dir.write_secret("root.key", b"one").unwrap();
        dir.write_secret("root.key", b"two").unwrap();
        assert_eq!(**dir.read_secret("root.key").unwrap().unwrap(), *b"two");
        assert!(!dir.file("root.key.new").exists());
    }

    #[test]
    fn a_directory_open_to_others_is_refused_with_the_command_that_helps() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("0755") && error.contains("chmod 0700"), "{error}");
    }

    #[test]
    fn a_secret_open_to_others_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&temp.path().join("d")).unwrap();
        dir.write_secret("root.key", b"secret").unwrap();
        for open in [0o640, 0o604, 0o660, 0o622] {
            std::fs::set_permissions(dir.file("root.key"), Permissions::from_mode(open)).unwrap();
            let error = dir.read_secret("root.key").unwrap_err();
            assert!(matches!(error, DataDirError::TooOpen { mode, .. } if mode == open), "{error:?}");
        }
    }

    #[test]
    fn a_second_opener_is_refused_and_the_first_ones_end_frees_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse { .. })));
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::NotADirectory { .. })));
    }

    #[test]
    fn an_enormous_file_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&temp.path().join("d")).unwrap();
        dir.write_secret("root.key", &vec![b'x'; 70_000]).unwrap();
        assert!(matches!(dir.read_secret("root.key"), Err(DataDirError::TooLarge { .. })));
    }
}
