//! The Unix socket of the administration: where it is, and who may have put it there.
//!
//! The socket (0600) lives in a directory of the issuer's user alone (0700), under a short path: the kernel limits it
//! to about 108 bytes. A socket file that refuses connections is stale and is removed; one that accepts them belongs to
//! another issuer, and is kept.

use avouch_files::{PrivateDirError, create_private_dir, examine_private_dir};
use avouch_spiffe::TrustDomain;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// Longest path that is used: below the kernel's limit on every system, with room for a suffix.
pub const MAX_PATH: usize = 100;
const FILE_NAME: &str = "admin.sock";

/// A path that cannot carry a socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketPathError {
    /// Too long for the kernel.
    #[error(
        "the path {path} has {length} bytes, and a Unix socket's path may have {MAX_PATH}; \
         set issuer.admin_socket to a shorter one"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
}

/// A failure to open the socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The socket's directory is accessible to other users.
    #[error("the administration socket's directory cannot be used")]
    Directory(#[from] PrivateDirError),
    /// Another process accepts connections on the socket.
    #[error("another issuer answers on {0}; stop it first, or set issuer.admin_socket")]
    InUse(PathBuf),
    /// Something else than a socket is there.
    #[error("{0} exists and is no socket")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot listen on {path}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// The default path for a trust domain.
pub fn default_path(trust_domain: &TrustDomain) -> Result<PathBuf, SocketPathError> {
    let root = rustix::process::geteuid().is_root();
    check_length(path_in(&runtime_dir(std::env::var_os("XDG_RUNTIME_DIR"), root), trust_domain))
}

/// Refuses a path the kernel would.
pub fn check_length(path: PathBuf) -> Result<PathBuf, SocketPathError> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_PATH {
        return Err(SocketPathError::TooLong { path, length });
    }
    Ok(path)
}

fn runtime_dir(xdg: Option<OsString>, root: bool) -> PathBuf {
    match xdg.map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => path,
        None if root => PathBuf::from("/run"),
        None => std::env::temp_dir(),
    }
}

fn path_in(runtime_dir: &Path, trust_domain: &TrustDomain) -> PathBuf {
    let hash = avouch_spiffe::x509::sha256(trust_domain.as_str().as_bytes());
    let short = avouch_text::hex::encode(hash.get(..4).unwrap_or_default());
    runtime_dir.join(format!("avouch-{short}")).join(FILE_NAME)
}

/// Refuses a path at which [`bind`] could not create a socket, without asking whether a process listens there now.
/// Creates and removes nothing.
pub(crate) fn examine(path: &Path) -> Result<(), BindError> {
    if let Some(parent) = path.parent() {
        examine_private_dir(parent)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        _ => Ok(()),
    }
}

/// Opens the socket.
pub async fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let io_error = |source| BindError::Io { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        create_private_dir(parent)?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => return Err(BindError::InUse(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(io_error)?;
            }
            Err(error) => return Err(io_error(error)),
        },
    }
    let listener = UnixListener::bind(path).map_err(io_error)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io_error)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn market() -> TrustDomain {
        "market.example".parse().unwrap()
    }

    #[test]
    fn the_default_is_short_and_differs_by_trust_domain() {
        let dir = runtime_dir(Some("/run/user/1000".into()), false);
        let one = path_in(&dir, &market());
        let other = path_in(&dir, &"other.example".parse().unwrap());
        assert!(one.starts_with("/run/user/1000/") && one.ends_with("admin.sock"), "{one:?}");
        assert!(one != other && one.as_os_str().len() < 60, "{one:?}");
    }

    #[test]
    fn the_runtime_directory_falls_back() {
        assert_eq!(runtime_dir(None, true), Path::new("/run"));
        assert_eq!(runtime_dir(Some("relative".into()), true), Path::new("/run"));
        assert_eq!(runtime_dir(None, false), std::env::temp_dir());
    }

    #[test]
    fn a_path_too_long_for_the_kernel_is_refused_with_its_length() {
        let error = check_length(PathBuf::from(format!("/{}", "x".repeat(100)))).unwrap_err().to_string();
        assert!(error.contains("101 bytes") && error.contains("issuer.admin_socket"), "{error}");
        assert!(check_length(PathBuf::from(format!("/{}", "x".repeat(99)))).is_ok());
    }

    #[tokio::test]
    async fn the_socket_and_its_directory_are_for_the_owner_only() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/admin.sock");
        let _listener = bind(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_leftover_socket_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/admin.sock");
        drop(bind(&path).await.unwrap());
        assert!(path.exists());
        bind(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_answers_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/admin.sock");
        let _first = bind(&path).await.unwrap();
        assert!(matches!(bind(&path).await, Err(BindError::InUse(_))));
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_in_the_sockets_place_and_an_open_directory_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/admin.sock");
        create_private_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"precious").unwrap();
        assert!(matches!(bind(&path).await, Err(BindError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            bind(&path).await,
            Err(BindError::Directory(PrivateDirError::DirectoryOpen { .. }))
        ));
    }
}
