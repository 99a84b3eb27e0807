//! Files and standard input that the arguments name, read whole up to a limit.

use crate::error::CliError;
use avouch_files::BUNDLE_LIMIT;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Reads a file of at most `limit` octets whole. A pipe is read to its end, as of `--key <(vault read …)`; what else is no
/// regular file is refused.
pub(crate) fn file(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let read = match std::fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_fifo() => {
            File::open(path).and_then(|pipe| limited(pipe, limit))
        }
        _ => avouch_files::read(path, limit),
    };
    read.map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// Reads a file of certificates, or standard input for `-`.
pub(crate) fn file_or_stdin(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    if path.as_os_str() != "-" {
        return file(path, BUNDLE_LIMIT);
    }
    let read = limited(io::stdin().lock(), BUNDLE_LIMIT);
    read.map_err(|source| CliError::Read { path: "standard input".into(), source })
}

/// A part would be read as a whole that says something else.
fn limited(from: impl Read, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of a secret at once: growing would leave copies of it behind.
    let room = usize::try_from(limit.min(avouch_files::SECRET_LIMIT)).unwrap_or_default();
    let mut content = Zeroizing::new(Vec::with_capacity(room.saturating_add(1)));
    from.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let text = format!("it has more than {} KiB", limit / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_is_too_large_is_refused_and_not_cut() {
        let whole = io::repeat(7).take(BUNDLE_LIMIT);
        assert_eq!(limited(whole, BUNDLE_LIMIT).unwrap().len() as u64, BUNDLE_LIMIT);
        let error = limited(io::repeat(7), BUNDLE_LIMIT).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::FileTooLarge, "it has more than 4096 KiB")
        );
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_a_device_not_at_all() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"secret").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert_eq!(**file(Path::new(&path), 64).unwrap(), *b"secret");
        for path in ["/dev/zero", "/dev/null", "/", "/none"] {
            assert!(matches!(file(Path::new(path), 64), Err(CliError::Read { .. })), "{path}");
        }
    }
}
