//! Files, standard input and servers that the arguments name; what is read is read whole, up to a limit.

use crate::error::CliError;
use avouch_files::BUNDLE_LIMIT;
use avouch_spiffe::HostPort;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The source of what a command is to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdin,
    File(PathBuf),
    Host(HostPort),
}

impl Source {
    /// The source that an argument names. A file that exists wins, whatever its name looks like: looking into a file opens
    /// no connection.
    pub(crate) fn of(text: &Path) -> Self {
        if text.as_os_str() == "-" {
            return Self::Stdin;
        }
        let host = || text.to_str().and_then(|text| text.parse().ok());
        match text.symlink_metadata() {
            Ok(_) => Self::File(text.to_owned()),
            Err(_) => host().map_or_else(|| Self::File(text.to_owned()), Self::Host),
        }
    }
}

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

/// An error rather than a truncated read, which could be valid with another meaning.
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

    #[test]
    fn hosts_names_and_addresses_have_a_port_and_nothing_else() {
        for (text, host, port) in
            [("localhost:7001", "localhost", 7001), ("10.0.0.1:1", "10.0.0.1", 1), ("[::1]:443", "::1", 443)]
        {
            let target: HostPort = text.parse().unwrap();
            assert_eq!((target.host(), target.port(), target.to_string().as_str()), (host, port, text));
        }
        for text in [
            "",
            "localhost",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:-1",
            "a/b:1",
            "::1:443",
            "[a]:1",
            "a b:1",
            "https://a:1",
            "[::1]",
            "a:1/",
            "-:x",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_existing_file_wins_over_a_host_and_a_missing_one_stays_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let odd = temp.path().join("a:1");
        std::fs::write(&odd, "").unwrap();
        assert_eq!(Source::of(&odd), Source::File(odd.clone()));
        assert_eq!(Source::of(Path::new("-")), Source::Stdin);
        assert!(matches!(Source::of(Path::new("no-such-host.invalid:1")), Source::Host(_)));
        assert!(matches!(Source::of(Path::new("no/such/orders.pem")), Source::File(_)));
    }
}
