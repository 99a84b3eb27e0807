//! A file that holds a secret: for its owner alone, and either the old one or the new one, whole, at every moment.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

const MODE: u32 = 0o600;

/// A file to be, under another name beside its place. Dropped before it is kept, it leaves nothing.
pub(crate) struct SecretFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    is_secret: bool,
    kept: bool,
}

/// What may be at the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing.
    New,
    /// Something older.
    Replaced,
}

impl SecretFile {
    /// Makes the file under its other name, so that what hinders is known before there is a secret to write.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Self::create_as(path, true)
    }

    /// As [`Self::create`], for something that is no secret: the umask says who may read it.
    pub(crate) fn create_public(path: &Path) -> io::Result<Self> {
        Self::create_as(path, false)
    }

    fn create_as(path: &Path, is_secret: bool) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut other = std::ffi::OsString::from(".");
        other.push(name);
        other.push(format!(".{}", std::process::id()));
        let temporary = path.with_file_name(other);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {} // of an earlier process that had the same number and was killed
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if is_secret { MODE } else { 0o666 })
            .open(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary, file, is_secret, kept: false })
    }

    /// Writes the secret and puts the file in its place.
    pub(crate) fn keep(self, secret: impl AsRef<[u8]>) -> io::Result<()> {
        self.keep_at(secret.as_ref(), Place::Replaced)
    }

    /// Writes the content and puts the file in its place; [`io::ErrorKind::AlreadyExists`] if something is there that
    /// must not be.
    pub(crate) fn keep_at(mut self, content: &[u8], place: Place) -> io::Result<()> {
        if self.is_secret {
            self.file.set_permissions(Permissions::from_mode(MODE))?; // whatever the umask says
        }
        self.file.write_all(content)?;
        self.file.sync_all()?;
        match place {
            // A second name for the file is refused where there is one already; looking first would be a race.
            Place::New => {
                fs::hard_link(&self.temporary, &self.path).and_then(|()| fs::remove_file(&self.temporary))?
            }
            Place::Replaced => fs::rename(&self.temporary, &self.path)?,
        }
        self.kept = true;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn the_file_is_replaced_as_a_whole_and_is_its_owners_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("token");
        fs::write(&path, "an older and longer one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = SecretFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older and longer one");
        file.keep("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(names(temp.path()), ["token"]);
    }

    #[test]
    fn what_is_there_stays_unless_it_may_be_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("certificate");
        SecretFile::create_public(&path).unwrap().keep_at(b"first", Place::New).unwrap();
        let error = SecretFile::create(&path).unwrap().keep_at(b"second", Place::New).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        std::os::unix::fs::symlink("nowhere", temp.path().join("link")).unwrap();
        let error =
            SecretFile::create(&temp.path().join("link")).unwrap().keep_at(b"x", Place::New).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        SecretFile::create(&path).unwrap().keep_at(b"third", Place::Replaced).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(names(temp.path()).len(), 2);
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        drop(SecretFile::create(&temp.path().join("token")).unwrap());
        assert!(names(temp.path()).is_empty());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_said_before_there_is_a_secret() {
        let temp = tempfile::tempdir().unwrap();
        for path in [temp.path().to_owned(), temp.path().join("none/token"), PathBuf::from("/")] {
            assert!(SecretFile::create(&path).is_err(), "{}", path.display());
        }
    }
}
