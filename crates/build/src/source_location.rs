//! A location in a file that the user wrote, for errors.

use std::fmt;

/// `file` or `file:line`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    /// The file, as the user named it or as it was found.
    pub file: String,
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
}

impl SourceLocation {
    /// The location of byte `offset` in `text`.
    pub(crate) fn of_offset(file: impl Into<String>, text: &str, offset: usize) -> Self {
        let before = text.as_bytes().iter().take(offset);
        Self { file: file.into(), line: Some(1 + before.filter(|byte| **byte == b'\n').count()) }
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}
