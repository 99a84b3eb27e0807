//! Checks, at the start, the paths of files and directories that a process will write.

use std::io::ErrorKind;
use std::path::Path;

use super::error::ConfigFault;

/// Checks the path of a file that is written later, through a temporary file in the same directory.
pub(super) fn writable_file(key: &str, path: &Path) -> Result<(), ConfigFault> {
    let refuse = |expected: &'static str| Err(ConfigFault::value(key, path.display(), expected));
    if path.file_name().is_none() || path.is_dir() {
        return refuse("must name a file, and this is a directory");
    }
    // A file name without a directory is in the working directory.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.map(std::fs::metadata) {
        Some(Ok(parent)) if !parent.is_dir() => refuse("its directory is none"),
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => {
            refuse("its directory does not exist; make it, or name a file elsewhere")
        }
        Some(Err(error)) if error.kind() == ErrorKind::NotADirectory => refuse("its directory is none"),
        _ => Ok(()),
    }
}

/// Checks the path of a file that is created together with its parent directories.
pub(super) fn file_to_make(key: &str, path: &Path) -> Result<(), ConfigFault> {
    let refuse = |expected: &'static str| Err(ConfigFault::value(key, path.display(), expected));
    if path.file_name().is_none() || path.is_dir() {
        return refuse("must name a file, and this is a directory");
    }
    // The nearest existing ancestor; the missing directories are created in it.
    let nearest = path.ancestors().skip(1).find_map(|above| std::fs::metadata(above).ok());
    if nearest.is_some_and(|nearest| !nearest.is_dir()) {
        return refuse("a part of its path is a file");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_needs_a_name_and_a_directory() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        for good in [file.clone(), temp.path().join("new"), "relative.json".into()] {
            assert!(writable_file("a.b", &good).is_ok(), "{good:?}");
        }
        for bad in
            [temp.path().to_owned(), temp.path().join("absent/x"), file.join("x"), "/".into(), "".into()]
        {
            let said = writable_file("a.b", &bad).unwrap_err().to_string();
            assert!(said.starts_with("a.b = "), "{said}");
        }
    }

    #[test]
    fn a_file_is_made_with_its_directories_unless_a_part_of_its_path_is_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        for good in [file.clone(), temp.path().join("new"), temp.path().join("a/b/new"), "relative.db".into()]
        {
            assert!(file_to_make("a.b", &good).is_ok(), "{good:?}");
        }
        for bad in [temp.path().to_owned(), file.join("x"), file.join("x/y"), "/".into(), "".into()] {
            assert!(file_to_make("a.b", &bad).is_err(), "{bad:?}");
        }
    }
}
