//! The record file: JSON lines, mode 0600, a new one when it is full.
//!
//! Only the recorder's thread writes it. A full disk or an absent directory loses lines, which are counted, and stops
//! nothing else: lines wait in a bounded buffer and are retried once a second. A line is written whole or, if the disk
//! was full in the middle of it, continued where it broke off. Only a regular file of this user is written to, and no link
//! is followed.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use avouch_authz::Methods;
use avouch_files::PrivateDirError;

use crate::config::FileConfig;
use crate::entry::Entry;
use crate::json_line::{self, AllowedLines};
use crate::memory::Line;
use crate::render;

/// The most bytes of lines that wait while the file cannot be written.
const BUFFER: usize = 1024 * 1024;

const RETRY_EVERY: Duration = Duration::from_secs(1);

/// A record file, open or not.
#[derive(Debug)]
pub(crate) struct FileLog {
    config: FileConfig,
    methods: Methods,
    allowed: AllowedLines,
    open: Option<Open>,
    /// Lines, each with its line feed; the first may have been written in part.
    buffer: Vec<u8>,
    torn: bool,
    lost: u64,
    problem: String,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    inode: (u64, u64),
}

impl FileLog {
    pub(crate) fn new(config: FileConfig, methods: Methods) -> Self {
        Self {
            config,
            methods,
            allowed: AllowedLines::default(),
            open: None,
            buffer: Vec::new(),
            torn: false,
            lost: 0,
            problem: String::new(),
            retry_at: None,
        }
    }

    /// Puts lines into the buffer; counts those for which there is no room.
    pub(crate) fn append(&mut self, lines: &[Line]) {
        for line in lines {
            if self.buffer.len() >= BUFFER {
                self.lost += 1;
                continue;
            }
            let text = match line {
                Line::Entry(Entry::Allowed(allowed)) => {
                    self.buffer.extend_from_slice(self.allowed.write(allowed, &self.methods).as_bytes());
                    self.buffer.push(b'\n');
                    continue;
                }
                Line::Entry(entry) => json_line::record(&render::record(entry, &self.methods)),
                Line::End(attempt) => json_line::end(&render::connection(attempt)),
            };
            self.buffer.extend_from_slice(text.as_bytes());
            self.buffer.push(b'\n');
        }
    }

    /// Writes the waiting lines, if the last failure is long enough ago; with `now`, at once.
    pub(crate) fn flush(&mut self, now: bool) {
        let waits = self.retry_at.is_some_and(|at| Instant::now() < at);
        if self.buffer.is_empty() || (waits && !now) {
            return;
        }
        match self.write() {
            Ok(()) => {
                self.problem.clear();
                self.retry_at = None;
            }
            Err(error) => {
                self.problem = format!("{}: {error}", self.config.path.display());
                self.retry_at = Some(Instant::now() + RETRY_EVERY);
            }
        }
    }

    /// The current problem; empty if there is none.
    pub(crate) fn problem(&self) -> &str {
        &self.problem
    }

    /// How many lines were lost since this was last asked.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            self.open()?;
            let Some(open) = &mut self.open else { return Ok(()) };
            let room = self.config.rotate_bytes.saturating_sub(open.size);
            let length = chunk(&self.buffer, self.torn, room, open.size == 0);
            if length == 0 {
                self.rotate()?;
                continue;
            }
            let written = open.file.write(self.buffer.get(..length).unwrap_or_default())?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            open.size += written as u64;
            self.torn = self.buffer.get(written - 1) != Some(&b'\n');
            self.buffer.drain(..written);
        }
        Ok(())
    }

    /// Opens the file; again if somebody moved or removed it.
    fn open(&mut self) -> io::Result<()> {
        let found = match fs::symlink_metadata(&self.config.path) {
            Ok(found) => Some((found.dev(), found.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if self.open.as_ref().is_some_and(|open| Some(open.inode) != found) {
            self.close();
        }
        if self.open.is_none() {
            self.open = Some(Open::new(&self.config)?);
        }
        Ok(())
    }

    /// Forgets the file; the rest of a line that was begun in it would mean nothing in another.
    fn close(&mut self) {
        self.open = None;
        if std::mem::take(&mut self.torn) {
            let rest =
                self.buffer.iter().position(|byte| *byte == b'\n').map_or(self.buffer.len(), |at| at + 1);
            self.buffer.drain(..rest);
            self.lost += 1;
        }
    }

    /// `file.1` becomes `file.2` and so on, the file `file.1`.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        let path = &self.config.path;
        if self.config.rotate_keep == 0 {
            return fs::remove_file(path);
        }
        for older in (1..self.config.rotate_keep).rev() {
            match fs::rename(self.older(older), self.older(older + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(path, self.older(1))
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.config.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Open {
    fn new(config: &FileConfig) -> io::Result<Self> {
        let file = avouch_files::open_append(&config.path).map_err(|error| match error {
            PrivateDirError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })?;
        let found = file.metadata()?;
        // A file that was there before may be readable by others.
        if found.mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(Self { size: found.len(), inode: (found.dev(), found.ino()), file })
    }
}

/// How much of `buffer` goes into a file with `room`: whole lines, at least one if the file is `empty`; of a torn line
/// first its rest.
fn chunk(buffer: &[u8], torn: bool, room: u64, empty: bool) -> usize {
    let first = buffer.iter().position(|byte| *byte == b'\n').map_or(buffer.len(), |at| at + 1);
    if torn {
        return first;
    }
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(buffer.len());
    let fits = buffer.get(..room).unwrap_or_default();
    match fits.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None if empty => first,
        None => 0,
    }
}

#[cfg(test)]
mod tests;
