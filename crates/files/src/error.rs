//! The errors of directories and files that are their owner's alone.

use std::io;
use std::path::{Path, PathBuf};

/// The reason why a directory of secrets, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateDirError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner can enter the directory.
    #[error(
        "{} has mode {mode:04o}, so others than its owner could read the keys in it or put files there. \
         `chmod 0700 {}` shuts it, but does not take back what was read: replace keys that were in it while it was open, \
         and remove what is not yours",
        path.display(), path.display()
    )]
    DirectoryOpen {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others than the owner can read or write a secret.
    #[error(
        "{} has mode {mode:04o}, so others than its owner can reach the secret in it. `chmod 0600 {}` shuts it, but does \
         not take back what was read: replace the secret",
        path.display(), path.display()
    )]
    SecretOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others than the owner can read or write a file that is written in place, such as a database.
    #[error(
        "{} has mode {mode:04o}, so others than its owner could read or change it. `chmod 0600 {}` shuts it, but does not \
         take back what was read or changed: if somebody may have done so, put a backup in its place",
        path.display(), path.display()
    )]
    FileOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user id {owner}, but this process runs as user id {user}", path.display())]
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The process's effective user.
        user: u32,
    },
    /// Another process works in it.
    #[error("another process uses {}; stop it first, or give this one a directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It exists but is no directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Others than the owner can change a file that holds nothing secret.
    #[error(
        "{} has mode {mode:04o}, so others than its owner can change it. See whether its content is right, or remove it; \
         then `chmod 0644 {}`",
        path.display(), path.display()
    )]
    PublicWritable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

pub(crate) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> PrivateDirError + 'a {
    move |source| PrivateDirError::Io { action, path: path.to_owned(), source }
}
