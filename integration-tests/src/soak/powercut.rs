//! Simulates a power cut for a killed process: only what its files had synced to disk is left.
//!
//! `kill -9` alone loses nothing that was written, since the kernel still has it. A library that is preloaded into the
//! process (`preload/powercut.c`, see [`super::preload`]) keeps, beside the files, what POSIX promises
//! to be on the disk; [`PowerCut::pull`] puts that in place of the files.
//!
//! What was not synced *may* be lost, and a disk is free to keep any part of it. So each directory's names and each
//! file's contents have their own [`Fate`]: a rename that reached the disk without the contents it promises is one of
//! the outcomes.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The outcome of a power cut for something that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never reached the disk.
    Lost,
    /// It happened to reach the disk.
    Kept,
}

/// The files of one process, kept twice: as they are, and as a power cut would leave them.
#[derive(Debug, Clone)]
pub struct PowerCut {
    library: PathBuf,
    root: PathBuf,
    shadow: PathBuf,
}

/// A file as it will be after the cut.
struct Left {
    name: String,
    mode: u32,
    contents: Vec<u8>,
    /// Whether it differs from what the process saw.
    differs: bool,
}

impl PowerCut {
    /// For the process whose durable files are below `root`; `shadow` must be elsewhere and is emptied.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(library: PathBuf, root: PathBuf, shadow: PathBuf) -> io::Result<Self> {
        let own = Self { library, root, shadow };
        own.forget()?;
        Ok(own)
    }

    /// What the process is started with.
    #[must_use]
    pub fn env(&self) -> [(String, std::ffi::OsString); 3] {
        [
            ("LD_PRELOAD".to_owned(), self.library.clone().into()),
            ("POWERCUT_ROOT".to_owned(), self.root.clone().into()),
            ("POWERCUT_SHADOW".to_owned(), self.shadow.clone().into()),
        ]
    }

    /// Replaces the files of the process, which has to be dead, by what the cut leaves of them; how many files are not
    /// what the process saw. Files named in `spared` are not the process's.
    ///
    /// # Errors
    /// What the system says.
    pub fn pull(&self, spared: &[&str], mut fate: impl FnMut() -> Fate) -> io::Result<usize> {
        let mut lost = 0;
        let mut directories = Vec::new();
        for directory in directories_below(&self.root)? {
            let present = self.present(&directory, spared)?;
            let mut left = self.left(&directory, &present, &mut fate)?;
            left.retain(|file| !self.is_spared(&directory, &file.name, spared));
            lost += left.iter().filter(|file| file.differs).count();
            lost += present.keys().filter(|name| left.iter().all(|file| file.name != **name)).count();
            directories.push((directory, present, left));
        }
        self.forget()?;
        for (directory, present, left) in directories {
            for name in present.keys() {
                fs::remove_file(directory.join(name))?;
            }
            self.lay_down(&directory, &left)?;
        }
        Ok(lost)
    }

    /// The files in a directory, with their IDs. SQLite's -shm file is rebuilt whatever it holds, and just goes.
    fn present(&self, directory: &Path, spared: &[&str]) -> io::Result<BTreeMap<String, String>> {
        let mut present = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !entry.file_type()?.is_file() || self.is_spared(directory, &name, spared) {
                continue;
            }
            if name.ends_with("-shm") {
                fs::remove_file(entry.path())?;
                continue;
            }
            present.insert(name, id(&entry.metadata()?)?);
        }
        Ok(present)
    }

    /// What the cut leaves of a directory.
    fn left(
        &self,
        directory: &Path,
        present: &BTreeMap<String, String>,
        fate: &mut impl FnMut() -> Fate,
    ) -> io::Result<Vec<Left>> {
        let names = match fate() {
            Fate::Kept => present.clone(),
            Fate::Lost => self.synced_names(directory)?,
        };
        let mut left = Vec::new();
        for (name, id) in names.into_iter().filter(|(name, _)| !name.ends_with("-shm")) {
            // A file that was renamed may still be there, under its new name.
            let now = present.iter().find(|(_, other)| **other == id).map(|(now, _)| directory.join(now));
            let real = now.as_ref().map(fs::read).transpose()?;
            let mode = now.map(fs::metadata).transpose()?.map_or(0o600, |metadata| metadata.mode());
            let synced = read_if_there(&self.shadow.join("data").join(&id))?.unwrap_or_default();
            let contents = match (fate(), &real) {
                (Fate::Kept, Some(real)) => real.clone(),
                _ => synced,
            };
            let differs = present.get(&name) != Some(&id) || real.as_ref() != Some(&contents);
            left.push(Left { name, mode, contents, differs });
        }
        Ok(left)
    }

    /// The names a directory had when it was last synced; none if it never was.
    fn synced_names(&self, directory: &Path) -> io::Result<BTreeMap<String, String>> {
        let list = read_if_there(&self.names(directory))?.unwrap_or_default();
        let list = String::from_utf8_lossy(&list).into_owned();
        let pairs = list.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(id, name)| (name.to_owned(), id.to_owned())).collect())
    }

    /// Writes the files, which count as synced from now on.
    fn lay_down(&self, directory: &Path, left: &[Left]) -> io::Result<()> {
        let mut names = String::new();
        for file in left {
            let path = directory.join(&file.name);
            let mut real =
                OpenOptions::new().write(true).create_new(true).mode(file.mode & 0o777).open(&path)?;
            real.write_all(&file.contents)?;
            let id = id(&real.metadata()?)?;
            fs::write(self.shadow.join("data").join(&id), &file.contents)?;
            names.push_str(&format!("{id} {}\n", file.name));
        }
        fs::write(self.names(directory), names)
    }

    fn is_spared(&self, directory: &Path, name: &str, spared: &[&str]) -> bool {
        directory == self.root && spared.contains(&name)
    }

    fn names(&self, directory: &Path) -> PathBuf {
        let below = directory.strip_prefix(&self.root).unwrap_or(Path::new(""));
        let name = format!("!{}", below.display()).replace('/', "!");
        self.shadow.join("names").join(name)
    }

    fn forget(&self) -> io::Result<()> {
        if self.shadow.exists() {
            fs::remove_dir_all(&self.shadow)?;
        }
        // Keys are in here as well.
        for part in ["data", "names"] {
            DirBuilder::new().recursive(true).mode(0o700).create(self.shadow.join(part))?;
        }
        Ok(())
    }
}

/// The directory and all below it.
fn directories_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = vec![root.to_path_buf()];
    let mut next = 0;
    while let Some(directory) = all.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                all.push(entry.path());
            }
        }
    }
    Ok(all)
}

/// A unique name for a file, the same as the preloaded library computes.
fn id(metadata: &fs::Metadata) -> io::Result<String> {
    let born = metadata.created()?.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    Ok(format!("{}-{}.{:09}", metadata.ino(), born.as_secs(), born.subsec_nanos()))
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
