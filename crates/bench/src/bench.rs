//! What all groups of a run have: its extent, its directory, its certificates, and the programs that are measured.

use std::path::{Path, PathBuf};

use avouch_testkit::ca::Ca;

use crate::error::Error;
use crate::pki::Pki;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every group in a few seconds, with fewer cases.
    Quick,
    /// Everything.
    Whole,
}

/// Programs of avouch that were built together: the directory they are in.
#[derive(Debug, Clone)]
pub struct Build {
    /// What is added to the names of its variants; nothing for today's.
    pub suffix: String,
    /// The directory.
    pub dir: PathBuf,
}

impl Build {
    /// A program of this build.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The name of a variant that runs programs of this build.
    #[must_use]
    pub fn variant(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }
}

/// A run.
pub struct Bench {
    /// How much is measured.
    pub extent: Extent,
    /// Where processes write, emptied at the start.
    pub dir: PathBuf,
    /// The repository.
    pub root: PathBuf,
    /// The CA of the run.
    pub ca: Ca,
    /// Certificates of the run.
    pub pki: Pki,
    /// Today's programs, and then those that they are compared with.
    pub builds: Vec<Build>,
}

impl Bench {
    /// Prepares a run in `dir`, which is emptied.
    ///
    /// # Errors
    /// What the system says.
    pub fn prepare(root: &Path, dir: PathBuf, extent: Extent, builds: Vec<Build>) -> Result<Self, Error> {
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(Error::system(format!("empty {}", dir.display())))?;
        }
        std::fs::create_dir_all(&dir).map_err(Error::system(format!("make {}", dir.display())))?;
        let ca = Ca::new();
        let pki = Pki::create(&dir.join("pki"), &ca)?;
        Ok(Self { extent, dir, root: root.to_owned(), ca, pki, builds })
    }

    /// Today's programs.
    ///
    /// # Errors
    /// Never: there always are some.
    pub fn today(&self) -> Result<&Build, Error> {
        self.builds.first().ok_or_else(|| Error::other("no programs to measure"))
    }

    /// The value for this extent.
    pub fn by_extent<T>(&self, quick: T, whole: T) -> T {
        if self.extent == Extent::Quick { quick } else { whole }
    }
}
