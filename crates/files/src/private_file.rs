//! Private files that are written in place: a database, a lock, a log.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::access::check_owner;
use crate::error::{PrivateDirError, io_error};
use crate::read::not_regular;

/// Makes sure that `path` is a regular file of ours that nobody else can reach, and creates it empty (mode 0600) where it
/// is missing: for a library that opens and writes it by its path.
///
/// # Errors
/// When it is a link, no regular file, somebody else's, or open to others.
pub fn create_private_file(path: &Path) -> Result<(), PrivateDirError> {
    // Not `create`: that would open whatever a link leads to.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_private_file(path),
        Err(error) => Err(io_error("create", path)(error)),
    }
}

/// As [`create_private_file`], but a file that is missing stays missing.
///
/// # Errors
/// As there.
pub fn check_private_file(path: &Path) -> Result<(), PrivateDirError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("inspect", path)(error)),
    };
    regular(&metadata).map_err(io_error("use", path))?;
    let mode = check_owner(path, &metadata)?;
    if mode & 0o077 == 0 { Ok(()) } else { Err(PrivateDirError::FileOpen { path: path.to_owned(), mode }) }
}

/// Opens a file to add to its end, and creates it (mode 0600) where it is missing. Never blocks, follows no link at the
/// end of the path, takes regular files of this user only: what is added would else go to whoever has put a FIFO, a
/// device or a link there.
///
/// # Errors
/// When it is a link, no regular file, or somebody else's; when it cannot be opened.
pub fn open_append(path: &Path) -> Result<File, PrivateDirError> {
    let mut options = OpenOptions::new();
    let file = guarded(options.append(true).create(true), path).map_err(io_error("open", path))?;
    let metadata = file.metadata().map_err(io_error("inspect", path))?;
    check_owner(path, &metadata)?;
    Ok(file)
}

/// Opens a lock file, and creates it (mode 0600) where it is missing.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    guarded(OpenOptions::new().write(true).create(true).truncate(false), path)
}

fn guarded(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a FIFO waits for its other end; it has no effect on a regular file.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let opened = options.mode(0o600).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match std::fs::symlink_metadata(path) {
        // The system's errors for these (ELOOP, ENXIO) do not say what is there.
        Ok(metadata) if !metadata.is_file() => match regular(&metadata) {
            Err(named) => named,
            Ok(()) => error,
        },
        _ => error,
    })?;
    regular(&file.metadata()?)?;
    Ok(file)
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, not_regular(metadata.file_type())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn fifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }

    fn text(error: PrivateDirError) -> String {
        avouch_text::with_causes(&error).to_string()
    }

    #[test]
    fn a_missing_file_is_made_for_its_owner_and_one_of_ours_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store.db");
        check_private_file(&path).unwrap();
        assert!(!path.exists());
        create_private_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        std::fs::write(&path, "content").unwrap();
        create_private_file(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"content");
    }

    #[test]
    fn a_file_open_to_others_is_refused_and_chmod_is_said_not_to_be_enough() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store.db");
        create_private_file(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o622] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = text(create_private_file(&path).unwrap_err());
            for part in [format!("{mode:04o}"), "chmod 0600".to_owned(), "does not take back".to_owned()] {
                assert!(error.contains(&part), "{error}");
            }
        }
    }

    #[test]
    fn links_and_what_is_no_file_are_refused_at_once_and_named() {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join("place");
        let theirs = temp.path().join("theirs");
        for (plant, word) in [
            (&(|| symlink(&theirs, &place).unwrap()) as &dyn Fn(), "symbolic link"),
            (&|| fifo(&place), "FIFO"),
            (&|| std::fs::create_dir(&place).unwrap(), "directory"),
        ] {
            for there in [false, true] {
                if there {
                    std::fs::write(&theirs, "").unwrap();
                }
                plant();
                for error in [create_private_file(&place).unwrap_err(), open_append(&place).unwrap_err()] {
                    let said = text(error);
                    assert!(said.contains(word) && said.contains("place"), "{said}");
                }
                assert!(open_lock(&place).unwrap_err().to_string().contains(word));
                assert!(there || !theirs.exists(), "a file was made where a link leads");
                let _ = std::fs::remove_file(&place).or_else(|_| std::fs::remove_dir(&place));
            }
            std::fs::remove_file(&theirs).unwrap();
        }
    }

    #[test]
    fn what_is_added_stands_behind_what_was_there() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("records.jsonl");
        for line in ["one\n", "two\n"] {
            open_append(&path).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_file_of_somebody_else_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("records.jsonl");
        std::fs::write(&path, "").unwrap();
        // Only root can give files away; others have a file of root's.
        let theirs = if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            path.as_path()
        } else {
            Path::new("/etc/passwd")
        };
        assert!(matches!(check_private_file(theirs), Err(PrivateDirError::ForeignOwner { .. })));
        assert!(open_append(theirs).is_err());
    }
}
