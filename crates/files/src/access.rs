//! Checks of who owns a file and who can reach it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::PrivateDirError;

/// The mode of a file lets others than its reader reach a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("others can read or write it (mode {mode:04o})")]
pub struct OpenToOthers {
    /// The permission bits.
    pub mode: u32,
    /// The bits that it should have at most.
    pub wanted: u32,
}

/// The effective user id of this process.
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Checks that nobody but this process can reach the key in a file that another process has put there.
///
/// Permissions for *others* are always refused. Those for the group are refused only if this process owns the file:
/// otherwise it reads the file by its group (a secret that Kubernetes mounts with `fsGroup`, a credential that systemd
/// passes), and a tighter mode would not work.
///
/// # Errors
/// The mode, and what it should be.
pub fn key_is_private(metadata: &Metadata) -> Result<(), OpenToOthers> {
    let mode = metadata.mode() & 0o7777;
    let (refused, wanted) =
        if metadata.uid() == effective_uid() { (0o077, 0o600) } else { (0o037, mode & 0o640) };
    if mode & refused == 0 { Ok(()) } else { Err(OpenToOthers { mode, wanted }) }
}

/// The mode of a file of this process's user.
pub(crate) fn check_owner(path: &Path, metadata: &Metadata) -> Result<u32, PrivateDirError> {
    let (owner, user) = (metadata.uid(), effective_uid());
    if owner == user {
        return Ok(metadata.mode() & 0o7777);
    }
    Err(PrivateDirError::ForeignOwner { path: path.to_owned(), owner, user })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_of_ours_is_for_us_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, private) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o602, false)]
        {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
            let outcome = key_is_private(&file.as_file().metadata().unwrap());
            assert_eq!(outcome.is_ok(), private, "{mode:o}");
            assert!(private || outcome == Err(OpenToOthers { mode, wanted: 0o600 }));
        }
    }
}
