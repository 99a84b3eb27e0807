//! The files of the connection to the collector: a CA, a client certificate, its key.
//!
//! Each error is a predicate of the setting that names the file.

use std::path::Path;

use avouch_files::pem::{self, PemError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// The largest file that is read, 1 MiB: far more than any CA bundle.
const MAX: u64 = 1 << 20;

/// Reads a regular file of at most 1 MiB. Never waits for a writer.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    avouch_files::read(path, MAX)
        .map_err(|error| format!("names {}, which cannot be read: {error}", path.display()))
}

/// All certificates of a PEM file, at least one.
pub(crate) fn certificates(octets: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    pem::certificates(octets).map_err(|error| unusable(&error, path))
}

/// The private key of a PEM file.
pub(crate) fn private_key(octets: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    pem::private_key(octets).map_err(|error| unusable(&error, path))
}

fn unusable(error: &PemError, path: &Path) -> String {
    format!("names {}, which cannot be used: {}", path.display(), error.describe(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        for (path, why) in [
            (fifo.as_path(), "FIFO"),
            (Path::new("/dev/zero"), "device"),
            (directory.path(), "directory"),
            (&directory.path().join("absent"), "cannot be read"),
        ] {
            let fault = read(path).expect_err("refused");
            assert!(fault.contains(why) && fault.contains(&path.display().to_string()), "{fault}");
        }
    }

    #[test]
    fn a_file_may_have_a_mebibyte_and_no_more() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX).unwrap();
        assert_eq!(read(file.path()).unwrap().len() as u64, MAX);
        file.as_file().set_len(MAX + 1).unwrap();
        let fault = read(file.path()).unwrap_err();
        assert!(fault.contains("more than 1 MiB"), "{fault}");
    }

    #[test]
    fn what_is_no_key_or_certificate_is_named_without_an_octet_of_it() {
        const SECRET: &str = "aHVudGVyMmh1bnRlcjI=";
        let cut = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n");
        let fault = private_key(cut.as_bytes(), Path::new("/key.pem")).unwrap_err();
        assert!(fault.contains("/key.pem") && fault.contains("it is cut"), "{fault}");
        assert!(!fault.contains(SECRET) && !fault.contains("97, 72"), "{fault}");
        let fault = certificates(b"hello", Path::new("/ca.pem")).unwrap_err();
        assert!(fault.contains("/ca.pem") && fault.contains("not PEM"), "{fault}");
    }
}
