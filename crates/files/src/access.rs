//! Who may read a key.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// The file's mode lets others than its reader at a secret.
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

/// Whether a file that somebody else puts there lets nobody but this process at its key.
///
/// The rights of *others* are refused always. Those of the group are refused to the owner only: who is not the owner reads
/// the file by its group (a secret that Kubernetes mounts with `fsGroup`, a credential that systemd passes), and nothing
/// tighter would do.
///
/// # Errors
/// The mode, and what it should be.
pub fn key_is_private(metadata: &Metadata) -> Result<(), OpenToOthers> {
    let mode = metadata.mode() & 0o7777;
    let (refused, wanted) =
        if metadata.uid() == effective_uid() { (0o077, 0o600) } else { (0o037, mode & 0o640) };
    if mode & refused == 0 { Ok(()) } else { Err(OpenToOthers { mode, wanted }) }
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
