//! The one place where a policy file is read: bounded, regular files only, and never waiting for a writer.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_time::clock::{Clock, SystemClock};
use aws_lc_rs::digest;

use super::stability::{FileId, Hash, Observation, STABLE_FOR};
use crate::methods::Methods;
use crate::policy::{MAX_POLICY_BYTES, Policy, PolicyError, PolicyFault, PolicyProblem, SourceLocation};

/// A policy file as one look found it.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) hash: Hash,
    pub(super) file: FileId,
    /// Whether the last thing that happened to the file was not a write.
    finished: bool,
    /// How long ago the last thing happened to the file.
    quiet: Duration,
}

impl Content {
    pub(super) fn observed(&self) -> Observation {
        Observation::Content { hash: self.hash, file: self.file, finished: self.finished, quiet: self.quiet }
    }

    /// Whether nothing has happened to the file for as long as its content has to stay the same.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet >= STABLE_FOR
    }
}

impl Policy {
    /// Reads and checks a file as it is at this moment, finished or not: for a check, not for activating it
    /// ([`PolicyHandle::load`](crate::PolicyHandle::load)).
    ///
    /// # Errors
    /// If it cannot be read or is not good.
    pub fn read(path: &Path, methods: &Methods) -> Result<Self, PolicyError> {
        Self::load(&path.display().to_string(), &read_policy(path)?, methods)
    }
}

/// The text of a policy file.
///
/// # Errors
/// If it cannot be read, is no regular file, has more than [`MAX_POLICY_BYTES`], or is not UTF-8.
pub fn read_policy(path: &Path) -> Result<String, PolicyError> {
    read(path).map(|content| content.text)
}

/// [`read_policy`], with the file's identity and the times that tell whether its content is still being written.
pub(super) fn read(path: &Path) -> Result<Content, PolicyError> {
    let unreadable = |cause| PolicyError::Unreadable { path: path.to_owned(), cause };
    let file = avouch_files::open_regular(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let bytes = limited(&file).map_err(unreadable)?;
    // The metadata is read after the content, so that it shows a write during the read.
    let found = file.metadata().map_err(unreadable)?;
    let hash = digest::digest(&digest::SHA256, &bytes).as_ref().try_into().unwrap_or_default();
    let text = policy_text(&path.display().to_string(), bytes, length)?;
    let changed = (found.ctime(), found.ctime_nsec());
    Ok(Content {
        text,
        hash,
        file: FileId { device: found.dev(), inode: found.ino() },
        finished: changed > (found.mtime(), found.mtime_nsec()),
        quiet: since(changed),
    })
}

/// The text of a policy that comes from where there is no file, a pipe for instance; `source_name` is what errors call it.
///
/// # Errors
/// If it cannot be read, has more than [`MAX_POLICY_BYTES`], or is not UTF-8.
pub fn read_policy_from(source_name: &str, from: impl Read) -> Result<String, PolicyError> {
    let unreadable = |cause| PolicyError::Unreadable { path: source_name.into(), cause };
    policy_text(source_name, limited(from).map_err(unreadable)?, 0)
}

/// Reads one octet more than a policy may have, which is enough to tell that it is too large.
fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_POLICY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of `bytes`. `length` is the size of the whole file, which may be more than was read.
fn policy_text(source: &str, bytes: Vec<u8>, length: u64) -> Result<String, PolicyError> {
    let invalid = |line, column, fault| {
        let location = SourceLocation { source: Arc::from(source), line: Some(line), column: Some(column) };
        PolicyError::Invalid(vec![PolicyProblem { location, fault }])
    };
    // Before the check of UTF-8: the cut may have gone through a character.
    if bytes.len() > MAX_POLICY_BYTES {
        let got = usize::try_from(length).unwrap_or(usize::MAX).max(bytes.len());
        return Err(invalid(1, 1, PolicyFault::TooLarge { got, allowed: MAX_POLICY_BYTES }));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|octet| **octet == b'\n').count() + 1;
        let start = good.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        let before = String::from_utf8_lossy(good.get(start..).unwrap_or_default());
        let utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        invalid(line, before.chars().count() + 1, PolicyFault::NotUtf8 { utf16 })
    })
}

/// How long ago a time of a file is, by the clock that sets it; zero if it lies in the future.
fn since((seconds, nanoseconds): (i64, i64)) -> Duration {
    let time = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
    let time = time.and_then(|(seconds, nanoseconds)| {
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
    });
    time.and_then(|time| SystemClock.now().duration_since(time).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use super::*;

    fn told(path: &Path) -> String {
        read_policy(path).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_nothing_waits_for_a_writer() {
        let dir = tempfile::TempDir::new().unwrap();
        let (pipe, socket) = (dir.path().join("pipe"), dir.path().join("socket"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let began = Instant::now();
        for (path, what) in [
            (pipe.as_path(), "it is a FIFO, not a regular file"),
            (socket.as_path(), "it is a socket or"),
            (dir.path(), "it is a directory, not a regular file"),
            (Path::new("/dev/zero"), "it is a device, not a regular file"),
            (Path::new("/nonexistent/policy.toml"), "No such file or directory"),
        ] {
            let text = told(path);
            assert!(text.contains(what) && text.contains(path.to_str().unwrap()), "{text}");
        }
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_link_to_a_pipe_is_a_pipe_and_a_link_to_a_file_is_that_file() {
        let dir = tempfile::TempDir::new().unwrap();
        let (pipe, file, link) = (dir.path().join("pipe"), dir.path().join("file"), dir.path().join("link"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert!(told(&link).contains("it is a FIFO"), "{}", told(&link));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&link).unwrap().file, read(&file).unwrap().file);
    }

    #[test]
    fn what_is_too_large_is_told_so_with_its_size_whatever_the_cut_goes_through() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("policy.toml");
        fs::write(&path, "é".repeat(MAX_POLICY_BYTES / 2 + 7)).unwrap();
        let size = MAX_POLICY_BYTES + 14;
        assert!(told(&path).contains(&format!("it has {size} bytes; a policy file has at most 1048576")));
        assert!(
            read_policy_from("stdin", io::repeat(b'#')).unwrap_err().to_string().contains("at most 1048576")
        );
    }

    #[test]
    fn what_is_not_utf8_is_told_where() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("policy.toml");
        fs::write(&path, b"[roles]\n\xc3\xa9 = \xff\n").unwrap();
        assert!(told(&path).ends_with("policy.toml:2:5: it is not UTF-8 text"), "{}", told(&path));
        fs::write(&path, b"\xff\xfe[\0r\0").unwrap();
        assert!(told(&path).ends_with(":1:1: it is UTF-16 text; save it as UTF-8"), "{}", told(&path));
    }

    #[test]
    fn a_file_is_finished_when_something_other_than_a_write_was_last_and_a_write_undoes_that() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("policy.toml");
        fs::write(&path, "x").unwrap();
        assert!(!read(&path).unwrap().finished, "created in place, and perhaps still being written");
        let began = Instant::now();
        let mut names = [path.clone(), dir.path().join("other")];
        // The kernel's clock ticks every few milliseconds only.
        while !read(&names[0]).unwrap().finished {
            assert!(began.elapsed() < Duration::from_secs(10), "a rename never shows");
            fs::rename(&names[0], &names[1]).unwrap();
            names.reverse();
        }
        fs::write(&names[0], "y").unwrap();
        assert!(!read(&names[0]).unwrap().finished);
        let file = File::options().write(true).open(&names[0]).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        let found = read(&names[0]).unwrap();
        assert!(
            found.finished && found.quiet < Duration::from_secs(600),
            "{found:?}: a date can be set, a change not"
        );
    }
}
