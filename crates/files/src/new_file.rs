//! A file that is replaced atomically: at every moment its name refers to either the old file or the new one, and the
//! new one is on the disk before the call returns.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::access::effective_uid;

/// What happens if a file with the name exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    /// The existing file stays, and the call fails.
    Fail,
    /// The existing file is replaced.
    Replace,
}

/// A file under a temporary name in the same directory, until it is kept. Dropped before that, it leaves nothing.
///
/// Anything that exists under the temporary name is removed first and never opened, so that no other user can have a
/// secret written into a file of theirs.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    kept: bool,
}

/// Replaces a file that holds a secret (mode 0600).
///
/// # Errors
/// As [`NewFile::secret`] and [`NewFile::keep`].
pub fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    NewFile::secret(path)?.keep(content, IfExists::Replace)
}

/// Replaces a file that holds nothing secret (mode 0644 less the umask).
///
/// # Errors
/// As [`NewFile::public`] and [`NewFile::keep`].
pub fn write_public(path: &Path, content: &[u8]) -> io::Result<()> {
    NewFile::public(path)?.keep(content, IfExists::Replace)
}

impl NewFile {
    /// Creates a file for a secret (mode 0600) under its temporary name, so that a failure is known before there is a secret
    /// to write.
    ///
    /// # Errors
    /// When it cannot be made; when anybody may rename files in its directory (writable by all, without the sticky bit).
    pub fn secret(path: &Path) -> io::Result<Self> {
        let directory = fs::metadata(directory_of(path))?;
        if directory.mode() & 0o1002 == 0o002 {
            let text = "anybody may replace files in its directory; use another, or `chmod o-w` it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        // Two processes may write the same file, each its own temporary one.
        let file = Self::beside(path, &format!(".{}", std::process::id()), 0o600)?;
        file.file.set_permissions(Permissions::from_mode(0o600))?; // whatever the umask says
        let made = file.file.metadata()?;
        // A file system may give files another owner or mode than asked for (vfat, some network mounts).
        if made.uid() != effective_uid() || made.mode() & 0o077 != 0 {
            let text = format!(
                "this file system gives it owner {} and mode {:04o}; a secret needs one where it can be mode 0600",
                made.uid(),
                made.mode() & 0o7777
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(file)
    }

    /// Creates a file for what is not secret (mode 0644 less the umask).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn public(path: &Path) -> io::Result<Self> {
        Self::beside(path, &format!(".{}", std::process::id()), 0o644)
    }

    pub(crate) fn beside(path: &Path, ending: &str, mode: u32) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut other = std::ffi::OsString::from(".");
        other.push(name);
        other.push(ending);
        let temporary = path.with_file_name(other);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {} // left by an earlier process with the same id that was killed
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary, file, kept: false })
    }

    /// Writes the content, puts the file into its place, and waits until both are on the disk.
    ///
    /// # Errors
    /// When it cannot be written; [`io::ErrorKind::AlreadyExists`] if a file exists and `if_exists` is [`IfExists::Fail`]. What was there
    /// before stays.
    pub fn keep(mut self, content: &[u8], if_exists: IfExists) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()?;
        match if_exists {
            // link(2) refuses a name that exists; looking first would be a race.
            IfExists::Fail => {
                fs::hard_link(&self.temporary, &self.path).and_then(|()| fs::remove_file(&self.temporary))?;
            }
            IfExists::Replace => fs::rename(&self.temporary, &self.path)?,
        }
        self.kept = true;
        File::open(directory_of(&self.path))?.sync_all()
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.temporary); // a failure leaves a file that the next writer removes
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_file_is_replaced_as_a_whole_and_is_its_owners_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("token");
        fs::write(&path, "an older and longer one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = NewFile::secret(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older and longer one");
        file.keep(b"new", IfExists::Replace).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(temp.path()), ["token"]);
    }

    #[test]
    fn what_is_there_stays_unless_it_may_be_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("certificate");
        NewFile::public(&path).unwrap().keep(b"first", IfExists::Fail).unwrap();
        let error = NewFile::secret(&path).unwrap().keep(b"second", IfExists::Fail).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        std::os::unix::fs::symlink("nowhere", temp.path().join("link")).unwrap();
        let error =
            NewFile::secret(&temp.path().join("link")).unwrap().keep(b"x", IfExists::Fail).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        write_secret(&path, b"third").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("third", 0o600));
        assert_eq!(names(temp.path()).len(), 2);
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        drop(NewFile::secret(&temp.path().join("token")).unwrap());
        assert!(names(temp.path()).is_empty());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_said_before_there_is_a_secret() {
        let temp = tempfile::tempdir().unwrap();
        for path in [temp.path().to_owned(), temp.path().join("none/token"), PathBuf::from("/")] {
            assert!(NewFile::secret(&path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_secret_is_not_written_into_what_somebody_has_put_under_the_other_name() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key.pem");
        let planted = temp.path().join(format!(".key.pem.{}", std::process::id()));
        let theirs = temp.path().join("theirs");
        fs::write(&theirs, "").unwrap();
        fs::set_permissions(&theirs, Permissions::from_mode(0o666)).unwrap();
        for plant in [
            |from: &Path, to: &Path| fs::hard_link(from, to),
            |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to),
        ] {
            plant(&theirs, &planted).unwrap();
            write_secret(&path, b"secret").unwrap();
            assert_eq!(fs::read(&theirs).unwrap(), b"", "the secret is in a file of somebody else");
            assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"secret"[..], 0o600));
        }
    }

    #[test]
    fn a_secret_is_not_put_where_anybody_may_replace_it() {
        let temp = tempfile::tempdir().unwrap();
        for (mode, taken) in [(0o777, false), (0o757, false), (0o1777, true), (0o775, true), (0o755, true)] {
            fs::set_permissions(temp.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(write_secret(&temp.path().join("key"), b"secret").is_ok(), taken, "{mode:o}");
        }
    }
}
