//! Files as programs expect them: private keys that are their owner's alone, and contents that change all at once.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

/// Replaces a file as a whole.
pub fn replace(path: &Path, contents: impl AsRef<[u8]>) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, contents).expect("written");
    std::fs::rename(temporary, path).expect("renamed");
}

/// Replaces a file as a whole by one with this mode.
pub fn replace_with_mode(path: &Path, contents: impl AsRef<[u8]>, mode: u32) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, contents).expect("written");
    set_mode(&temporary, mode);
    std::fs::rename(temporary, path).expect("renamed");
}

/// Replaces a file as a whole by one that looks finished long ago, which is read at once: avouch waits whether a file
/// that was just written still grows (ADR 6).
pub fn install(path: &Path, contents: impl AsRef<[u8]>) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, contents).expect("written");
    age(&File::options().write(true).open(&temporary).expect("writable"));
    std::fs::rename(temporary, path).expect("renamed");
}

/// Lets a file look as if it had last been written in 2001.
pub fn age(file: &File) {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("set");
}

/// Sets the permissions of a file.
pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
}

/// The PEM of a chain, or of a bundle's roots.
#[must_use]
pub fn certificates(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|der| avouch_files::pem::encode("CERTIFICATE", der)).collect()
}
