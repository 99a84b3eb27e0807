//! Where the issuers of this machine have their administration sockets by default.
//!
//! An issuer's default is `avouch-<hash of its trust domain>/admin.sock` in `$XDG_RUNTIME_DIR`, else in `/run`, else in the
//! temporary directory. Without `--socket` the one that is there is taken; of several none is guessed.

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
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

/// The sockets there.
pub(crate) fn sockets(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = directories.iter().flat_map(|directory| sockets_in(directory)).collect();
    found.sort();
    found
}

fn sockets_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("avouch-"))
        .map(|entry| entry.path().join(FILE_NAME))
        .filter(|path| std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_sockets_in_avouch_directories_are_found() {
        let temp = tempfile::tempdir().unwrap();
        for directory in ["avouch-1", "avouch-2", "other"] {
            std::fs::create_dir(temp.path().join(directory)).unwrap();
        }
        let _one = UnixListener::bind(temp.path().join("avouch-1/admin.sock")).unwrap();
        let _other = UnixListener::bind(temp.path().join("other/admin.sock")).unwrap();
        std::fs::write(temp.path().join("avouch-2/admin.sock"), b"no socket").unwrap();
        let directories = [temp.path().to_owned(), temp.path().join("missing")];
        assert_eq!(sockets(&directories), [temp.path().join("avouch-1/admin.sock")]);
    }

    #[test]
    fn the_users_runtime_directory_comes_first() {
        let found = candidates(Some("/run/user/7".into()));
        assert_eq!(found.first(), Some(&PathBuf::from("/run/user/7")));
        assert_eq!(candidates(Some("relative".into())).first(), Some(&PathBuf::from("/run")));
    }
}
