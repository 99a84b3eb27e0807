//! Reads a whole file: a regular one, up to a limit.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

/// The content of a file, with its metadata: those of the file that was read, not of the file that the path leads to
/// later.
#[derive(Debug)]
pub struct Content {
    /// The file's octets; cleared when dropped, since any file may turn out to hold a key.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Owner, mode and the rest.
    pub metadata: Metadata,
}

/// Reads a regular file of at most `limit` octets. Blocks as long as the file system does: on a runtime use
/// [`Reader`](crate::Reader).
///
/// # Errors
/// When it cannot be opened or read, is no regular file (a directory, FIFO, socket or device), or has more than `limit`
/// octets; nothing of the content is in the error.
pub fn read(path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    read_with_metadata(path, limit).map(|content| content.bytes)
}

/// Opens a regular file for reading. Never waits for a writer, and takes no terminal.
///
/// # Errors
/// When it cannot be opened, or is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a FIFO waits for a writer; it has no effect on a regular file. O_NOCTTY: a terminal must
    // not become the process's own.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let wrong_kind = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        // open(2) fails with ENXIO on a socket.
        Some(code) if code == Errno::NXIO.raw_os_error() => {
            wrong_kind("it is a socket or a device that is not there, not a regular file")
        }
        _ => error,
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(wrong_kind(not_regular(kind))) }
}

/// As [`read`], with the metadata of the file that was read.
///
/// # Errors
/// As [`read`].
pub fn read_with_metadata(path: &Path, limit: u64) -> io::Result<Content> {
    let file = open_regular(path)?;
    let metadata = file.metadata()?;
    let bytes = bounded(&file, &metadata, limit)?;
    Ok(Content { bytes, metadata })
}

fn bounded(file: &File, metadata: &Metadata, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {}", size(limit)));
    if metadata.len() > limit {
        return Err(too_large());
    }
    // All of it is allocated at once: growing would leave copies of a key behind. 64 octets more leave room for a file that
    // has grown since, and for the one octet beyond the limit that tells it is too large.
    let room = usize::try_from(metadata.len()).unwrap_or_default().saturating_add(64);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

fn size(octets: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * 1024;
    match octets {
        _ if octets >= MIB && octets.is_multiple_of(MIB) => format!("{} MiB", octets / MIB),
        _ if octets >= KIB && octets.is_multiple_of(KIB) => format!("{} KiB", octets / KIB),
        _ => format!("{octets} octets"),
    }
}

pub(crate) fn not_regular(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_symlink() => "it is a symbolic link, not a regular file",
        _ if kind.is_dir() => "it is a directory, not a regular file",
        _ if kind.is_fifo() => "it is a FIFO, not a regular file",
        _ if kind.is_socket() => "it is a socket, not a regular file",
        _ if kind.is_char_device() || kind.is_block_device() => "it is a device, not a regular file",
        _ => "it is not a regular file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_one_octet_more_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("bundle.pem");
        std::fs::write(&path, [7; 1024]).unwrap();
        assert_eq!(read(&path, 1024).unwrap().len(), 1024);
        let error = read(&path, 1023).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::FileTooLarge, "it has more than 1023 octets")
        );
        std::fs::File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
        assert_eq!(read(&path, crate::BUNDLE_LIMIT).unwrap_err().to_string(), "it has more than 4 MiB");
    }

    #[test]
    fn whatever_is_no_regular_file_is_refused_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        for (path, word) in
            [("fifo", "FIFO"), (".", "directory"), ("/dev/zero", "device"), ("/dev/null", "device")]
        {
            let error = read(&temp.path().join(path), 1024).unwrap_err();
            assert!(error.to_string().contains(word), "{path}: {error}");
        }
        assert!(read(&temp.path().join("socket"), 1024).is_err());
        assert_eq!(read(&temp.path().join("none"), 1024).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_is_followed_to_a_regular_file() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("a"), "content").unwrap();
        std::os::unix::fs::symlink("a", temp.path().join("link")).unwrap();
        assert_eq!(**read(&temp.path().join("link"), 64).unwrap(), *b"content");
    }
}
