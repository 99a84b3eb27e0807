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
    kept: bool,
}

impl SecretFile {
    /// Makes the file under its other name, so that what hinders is known before there is a secret to write.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
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
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary, file, kept: false })
    }

    /// Writes the secret and puts the file in its place.
    pub(crate) fn keep(mut self, secret: impl AsRef<[u8]>) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(MODE))?; // whatever the umask says
        self.file.write_all(secret.as_ref())?;
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
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
