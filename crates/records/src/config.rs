//! The configuration of records: how many are kept, and where they are written.

use std::path::PathBuf;

use avouch_spiffe::Bounds;

/// The configuration of a [`Recorder`](crate::Recorder).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsConfig {
    /// The number of records of each kind in memory: accepted connections, refused ones, refused calls, allowed ones.
    pub keep: usize,
    /// The file that records are written to, if any.
    pub file: Option<FileConfig>,
}

impl RecordsConfig {
    /// The bounds of [`RecordsConfig::keep`].
    pub const KEEP: Bounds<usize> =
        Bounds::new(1, 16 * 1024, "each takes half a kilobyte, and longer ago than that is for the file");
}

impl Default for RecordsConfig {
    fn default() -> Self {
        Self { keep: 1024, file: None }
    }
}

/// A file of JSON lines, replaced by a new one when it is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileConfig {
    /// The file; older ones are called the same with `.1`, `.2` and so on after it.
    pub path: PathBuf,
    /// The size in bytes from which on a new file is begun.
    pub rotate_bytes: u64,
    /// How many older files are kept.
    pub rotate_keep: u32,
    /// Whether allowed calls are written too, not only those refused or audited.
    pub allowed: bool,
}

impl FileConfig {
    /// The bounds of [`FileConfig::rotate_bytes`].
    pub const ROTATE_BYTES: Bounds<u64> = Bounds::new(
        64 * 1024,
        1 << 40,
        "a file of less is nothing but renaming, and one of a tebibyte is never followed by another",
    );
    /// The bounds of [`FileConfig::rotate_keep`].
    pub const ROTATE_KEEP: Bounds<u32> = Bounds::new(0, 1000, "each is renamed when a new one begins");
}
