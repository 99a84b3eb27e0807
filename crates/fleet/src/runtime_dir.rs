//! Where the issuers of this machine have their administration sockets by default.
//!
//! An issuer's default is `avouch-<hash of its trust domain>/admin.sock` in `$XDG_RUNTIME_DIR`, else in `/run`, else in the
//! temporary directory. Without `--socket` the first of these places that has one is taken; of several there, none is
//! guessed. In a place where everybody may write (`/tmp`), only directories of the caller's own count: anybody could put
//! a socket there that answers like an issuer.

use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "admin.sock";

/// The directories in which issuers put their sockets, in the order of preference.
pub(crate) fn candidates(xdg_runtime_dir: Option<OsString>) -> Vec<PathBuf> {
    let xdg = xdg_runtime_dir.map(PathBuf::from).filter(|path| path.is_absolute());
    let mut found: Vec<PathBuf> = Vec::new();
    for path in xdg.into_iter().chain([PathBuf::from("/run"), std::env::temp_dir()]) {
        if !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// The sockets in the first directory that has any.
pub(crate) fn sockets(directories: &[PathBuf]) -> Vec<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let found = directories.iter().map(|directory| sockets_in(directory, own));
    found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

fn sockets_in(directory: &Path, own: u32) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let everybody_writes = std::fs::metadata(directory).is_ok_and(|metadata| metadata.mode() & 0o002 != 0);
    let trusted = |place: &Path| match std::fs::symlink_metadata(place) {
        Ok(metadata) if everybody_writes => metadata.is_dir() && metadata.uid() == own,
        other => other.is_ok(),
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("avouch-"))
        .filter(|entry| trusted(&entry.path()))
        .map(|entry| entry.path().join(FILE_NAME))
        .filter(|path| std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    fn place(base: &Path, directory: &str) -> PathBuf {
        std::fs::create_dir_all(base.join(directory)).unwrap();
        base.join(directory).join(FILE_NAME)
    }

    #[test]
    fn only_sockets_in_avouch_directories_are_found() {
        let temp = tempfile::tempdir().unwrap();
        let one = place(temp.path(), "avouch-1");
        let _one = UnixListener::bind(&one).unwrap();
        let _other = UnixListener::bind(place(temp.path(), "other")).unwrap();
        std::fs::write(place(temp.path(), "avouch-2"), b"no socket").unwrap();
        assert_eq!(sockets(&[temp.path().join("missing"), temp.path().to_owned()]), [one]);
    }

    #[test]
    fn the_first_place_that_has_one_wins() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directories = [first.path().to_owned(), second.path().to_owned()];
        let (preferred, fallback) = (place(first.path(), "avouch-1"), place(second.path(), "avouch-1"));
        let _fallback = UnixListener::bind(&fallback).unwrap();
        assert_eq!(sockets(&directories), [fallback]);
        let _preferred = UnixListener::bind(&preferred).unwrap();
        assert_eq!(sockets(&directories), [preferred]);
    }

    #[test]
    fn where_everybody_may_write_only_own_directories_count() {
        let temp = tempfile::tempdir().unwrap();
        let socket = place(temp.path(), "avouch-1");
        let _socket = UnixListener::bind(&socket).unwrap();
        let own = std::fs::metadata(temp.path()).unwrap().uid();
        assert_eq!(
            sockets_in(temp.path(), own + 1),
            std::slice::from_ref(&socket),
            "nobody else writes here"
        );
        std::fs::set_permissions(temp.path(), Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(sockets_in(temp.path(), own), [socket]);
        assert!(sockets_in(temp.path(), own + 1).is_empty());
        // A link to a directory of ours is not one.
        let linked = tempfile::tempdir().unwrap();
        std::fs::set_permissions(linked.path(), Permissions::from_mode(0o1777)).unwrap();
        std::os::unix::fs::symlink(temp.path().join("avouch-1"), linked.path().join("avouch-1")).unwrap();
        assert!(sockets_in(linked.path(), own).is_empty());
    }

    #[test]
    fn the_users_runtime_directory_comes_first() {
        let found = candidates(Some("/run/user/7".into()));
        assert_eq!(found.first(), Some(&PathBuf::from("/run/user/7")));
        assert_eq!(candidates(Some("relative".into())).first(), Some(&PathBuf::from("/run")));
    }
}
