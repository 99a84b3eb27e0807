//! The files of the connection to the collector: a CA, a client certificate, its key.
//!
//! Every text is ours: the library's errors repeat what stands in a file, and one of the files is a private key.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Far more than any bundle of CAs.
const MAX: u64 = 1 << 20;

/// Reads a regular file of at most 1 MiB; a byte order mark at its begin is left out. Never waits: a FIFO is opened
/// without blocking, and refused. The error is a predicate of the setting that names the file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let unreadable = |error| format!("names {}, which cannot be read ({error})", path.display());
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(format!("names {}, which is no regular file", path.display()));
    }
    let mut octets = Vec::new();
    file.take(MAX + 1).read_to_end(&mut octets).map_err(unreadable)?;
    if octets.len() as u64 > MAX {
        return Err(format!("names {}, which is larger than 1 MiB", path.display()));
    }
    if octets.starts_with(b"\xef\xbb\xbf") {
        octets.drain(..3);
    }
    Ok(octets)
}

/// All certificates of a PEM file, at least one.
pub(crate) fn certificates(octets: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(octets).collect();
    let found = found.map_err(|error| not_pem(&error, path))?;
    if found.is_empty() {
        return Err(format!("names {}, which holds no certificate in PEM", path.display()));
    }
    // A block that does not begin its line is passed over by the reader; nobody would notice a root that is missing.
    let begun = octets.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
    if begun != found.len() {
        return Err(format!("names {}, where a PEM block does not begin its line", path.display()));
    }
    Ok(found)
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The private key of a PEM file.
pub(crate) fn private_key(octets: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(octets).map_err(|error| match error {
        Error::NoItemsFound => {
            format!("names {}, which holds no unencrypted private key in PEM", path.display())
        }
        error => not_pem(&error, path),
    })
}

/// What is wrong, by the kind of error alone: its text quotes the file.
fn not_pem(error: &Error, path: &Path) -> String {
    let why = match error {
        Error::MissingSectionEnd { .. } => "a block has no end, or its line breaks are missing",
        Error::IllegalSectionStart { .. } => "the first line of a block is malformed",
        Error::Base64Decode(_) => "a block is not base64",
        _ => "it cannot be parsed",
    };
    format!("names {}, which is not PEM ({why})", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "aHVudGVyMmh1bnRlcjI=";

    fn written(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
        for (path, why) in [
            (fifo.as_path(), "no regular file"),
            (Path::new("/dev/zero"), "no regular file"),
            (directory.path(), "no regular file"),
            (&directory.path().join("socket"), "cannot be read"),
            (&directory.path().join("absent"), "cannot be read"),
        ] {
            let fault = read(path).expect_err("refused");
            assert!(fault.contains(why) && fault.contains(&path.display().to_string()), "{fault}");
        }
    }

    #[test]
    fn a_file_may_have_a_mebibyte_and_no_more() {
        let most = usize::try_from(MAX).unwrap();
        assert_eq!(read(written(&vec![b'x'; most]).path()).unwrap().len(), most);
        let fault = read(written(&vec![b'x'; most + 1]).path()).unwrap_err();
        assert!(fault.contains("larger than 1 MiB"), "{fault}");
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_the_first_block() {
        let key = format!("\u{feff}-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
        let octets = read(written(key.as_bytes()).path()).unwrap();
        assert!(private_key(&octets, Path::new("key")).is_ok());
    }

    #[test]
    fn no_octet_of_a_malformed_key_is_in_the_fault() {
        let block = |text: &str| format!("-----BEGIN PRIVATE KEY-----{text}-----END PRIVATE KEY-----");
        for (content, why) in [
            (block(SECRET), "line breaks are missing"),
            (format!("-----BEGIN PRIVATE KEY----\n{SECRET}\n"), "malformed"),
            (format!("-----BEGIN {SECRET}\n"), "malformed"),
            (block(&format!("\n{SECRET}!\n")), "not base64"),
            (format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n"), "no end"),
            (SECRET.to_owned(), "no unencrypted private key"),
            (String::new(), "no unencrypted private key"),
            (
                block(&format!("\n{SECRET}\n")).replace("PRIVATE", "ENCRYPTED PRIVATE"),
                "no unencrypted private key",
            ),
        ] {
            let fault = private_key(content.as_bytes(), Path::new("/key.pem")).expect_err(&content);
            assert!(fault.contains(why) && fault.contains("/key.pem"), "{content}: {fault}");
            assert!(!fault.contains(SECRET) && !fault.contains("97, 72"), "{fault}");
        }
    }

    #[test]
    fn a_certificate_whose_block_is_indented_is_not_passed_over() {
        let block = format!("-----BEGIN CERTIFICATE-----\n{SECRET}\n-----END CERTIFICATE-----\n");
        let path = Path::new("/ca.pem");
        assert_eq!(certificates(format!("{block}{block}").as_bytes(), path).unwrap().len(), 2);
        for bad in [format!(" {block}{block}"), format!("{block}\u{feff}{block}")] {
            let fault = certificates(bad.as_bytes(), path).expect_err(&bad);
            assert!(fault.contains("does not begin its line"), "{fault}");
        }
        let fault = certificates(b"hello", path).unwrap_err();
        assert!(fault.contains("no certificate in PEM"), "{fault}");
    }
}
