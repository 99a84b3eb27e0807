//! Wall clocks that jump: everybody's at once, or one process's alone.
//!
//! A library that is preloaded into each process (`preload/clockjump.c`) adds to its wall clock what a small shared
//! file says; [`Clocks`] writes that file. The monotonic clock stays as it is, as on a machine that was asleep or whose
//! clock was set. This process's own clock is not touched; its own identities go by [`Clocks::everybody`], since they
//! deal with processes that have jumped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use avouch_time::clock::{Clock, SharedClock, SystemClock};

use super::preload::LD_PRELOAD;

/// Nanoseconds in a millisecond: the file holds the former, since that is what the C library adds up.
const NANOS: i64 = 1_000_000;

/// The bytes of one number of the file.
const SLOT: u64 = 8;

/// The wall clocks of a run's processes.
#[derive(Debug)]
pub struct Clocks {
    library: PathBuf,
    path: PathBuf,
    file: File,
    everybody: Arc<AtomicI64>,
    /// By process, in the order of the file's numbers after the first: how far it is from everybody's, in ms.
    own: BTreeMap<&'static str, AtomicI64>,
}

impl Clocks {
    /// Clocks of these processes, none of which has jumped yet; the file is made anew.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(
        library: PathBuf,
        path: PathBuf,
        names: impl IntoIterator<Item = &'static str>,
    ) -> io::Result<Self> {
        let own: BTreeMap<_, _> = names.into_iter().map(|name| (name, AtomicI64::default())).collect();
        let file = File::create(&path)?;
        file.set_len(SLOT * (own.len() as u64 + 1))?;
        Ok(Self { library, path, file, everybody: Arc::default(), own })
    }

    /// What a process is started with; nothing for one that is none of these.
    pub fn env(&self, name: &str) -> Vec<(String, OsString)> {
        let Some(slot) = self.slot(name) else { return Vec::new() };
        vec![
            (LD_PRELOAD.to_owned(), self.library.clone().into()),
            ("CLOCKJUMP_FILE".to_owned(), self.path.clone().into()),
            ("CLOCKJUMP_SLOT".to_owned(), slot.to_string().into()),
        ]
    }

    /// Moves all clocks at the same moment, by so many milliseconds.
    ///
    /// # Errors
    /// What the system says.
    pub fn move_all(&self, by: i64) -> io::Result<()> {
        let all = self.everybody.load(Ordering::Relaxed).saturating_add(by);
        self.write(0, all)?;
        self.everybody.store(all, Ordering::Relaxed);
        Ok(())
    }

    /// Sets how far one process's clock is from everybody's, in milliseconds.
    ///
    /// # Errors
    /// What the system says, or that there is no such process.
    pub fn set_one(&self, name: &str, apart: i64) -> io::Result<()> {
        let unknown = || io::Error::other(format!("{name} has no clock of its own"));
        let (slot, own) = self.slot(name).zip(self.own.get(name)).ok_or_else(unknown)?;
        self.write(slot, apart)?;
        own.store(apart, Ordering::Relaxed);
        Ok(())
    }

    /// The clock of a machine that all processes share: with all jumps, and none of a single process.
    pub fn everybody(&self) -> SharedClock {
        Arc::new(Moved(self.everybody.clone()))
    }

    /// What the clock of a process shows now; everybody's for one that is none of these.
    pub fn now(&self, name: &str) -> SystemTime {
        let apart = self.own.get(name).map_or(0, |own| own.load(Ordering::Relaxed));
        moved(Moved(self.everybody.clone()).now(), apart)
    }

    fn slot(&self, name: &str) -> Option<u64> {
        self.own.keys().position(|own| *own == name).and_then(|at| u64::try_from(at + 1).ok())
    }

    /// Eight bytes at a multiple of eight: readers see the old number or the new one.
    fn write(&self, slot: u64, ms: i64) -> io::Result<()> {
        self.file.write_all_at(&ms.saturating_mul(NANOS).to_ne_bytes(), slot * SLOT)
    }
}

/// The system's clock, moved.
#[derive(Debug)]
struct Moved(Arc<AtomicI64>);

impl Clock for Moved {
    fn now(&self) -> SystemTime {
        moved(SystemClock.now(), self.0.load(Ordering::Relaxed))
    }
}

fn moved(at: SystemTime, by: i64) -> SystemTime {
    let size = Duration::from_millis(by.unsigned_abs());
    let there = if by < 0 { at.checked_sub(size) } else { at.checked_add(size) };
    there.unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_how_far_everybody_and_each_is_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clocks");
        let clocks = Clocks::new("/lib.so".into(), path.clone(), ["orders", "issuer"]).unwrap();
        let numbers = || -> Vec<i64> {
            let octets = std::fs::read(&path).unwrap();
            octets.chunks(8).map(|eight| i64::from_ne_bytes(eight.try_into().unwrap())).collect()
        };
        assert_eq!(numbers(), [0, 0, 0]);
        clocks.move_all(60_000).unwrap();
        clocks.move_all(-1).unwrap();
        clocks.set_one("orders", -5_000).unwrap();
        clocks.set_one("orders", -4_000).unwrap();
        // In the order of their names.
        assert_eq!(numbers(), [59_999 * NANOS, 0, -4_000 * NANOS]);
        assert!(clocks.set_one("nobody", 1).is_err());
        let slot = |name| clocks.env(name).into_iter().find(|(key, _)| key == "CLOCKJUMP_SLOT");
        assert_eq!(slot("orders").unwrap().1, "2");
        assert!(slot("nobody").is_none());
    }

    #[test]
    fn the_clocks_of_this_process_follow_everybody_and_not_one_alone() {
        let dir = tempfile::tempdir().unwrap();
        let clocks = Clocks::new("/lib.so".into(), dir.path().join("clocks"), ["orders"]).unwrap();
        clocks.move_all(-60_000).unwrap();
        clocks.set_one("orders", 5_000).unwrap();
        let behind = |at: SystemTime| SystemClock.now().duration_since(at).unwrap().as_secs();
        assert!((60..70).contains(&behind(clocks.everybody().now())));
        assert!((60..70).contains(&behind(clocks.now("dev"))));
        assert!((54..65).contains(&behind(clocks.now("orders"))));
    }
}
