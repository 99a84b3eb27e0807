//! Memory and file descriptors of each life of each process, and whether they stay flat.
//!
//! Memory is what the process has for itself (`RssAnon`): pages of the binary and of SQLite's index of its log are the
//! kernel's to keep or drop. A life is judged when it lasted long enough to compare two windows of it: the first after
//! the warm-up with the last, each a third of what is left, median against median. Medians, since a burst of orders
//! after a kill is not growth.

use std::collections::BTreeMap;
use std::path::Path;

/// The warm-up in ms: the time in which a process fills its pools and caches and opens its connections.
const WARM_UP: u64 = 15_000;

/// The shortest life after the warm-up that is judged, in ms.
const SHORTEST: u64 = 12_000;

/// Memory may grow by a tenth and 4 MiB: a store's page cache holds up to 2 MiB per connection and fills with the
/// data, and the allocator keeps arenas per thread. A leak of 1 kB per order passes that within 5,000 orders.
const MEMORY: (u64, u64) = (10, 4 << 10);

/// Descriptors may grow by this many: connections that are being replaced have an old and a new one for a moment.
const DESCRIPTORS: u64 = 6;

/// A sample of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// When, on the run's time line.
    pub(super) ms: u64,
    pub(super) memory_kib: u64,
    pub(super) descriptors: u64,
}

/// All samples of all lives.
#[derive(Debug, Default)]
pub(super) struct Memory {
    lives: BTreeMap<(String, u32), Vec<Sample>>,
}

/// The result for one life of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) lasted_ms: u64,
    pub(super) memory_kib: (u64, u64),
    pub(super) descriptors: (u64, u64),
}

impl Judged {
    pub(super) fn is_flat(&self) -> bool {
        let (early, late) = self.memory_kib;
        late <= early + early / MEMORY.0 + MEMORY.1 && self.descriptors.1 <= self.descriptors.0 + DESCRIPTORS
    }

    /// The growth of memory between the two windows.
    pub(super) fn growth_kib(&self) -> u64 {
        self.memory_kib.1.saturating_sub(self.memory_kib.0)
    }
}

impl std::fmt::Display for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ((m0, m1), (d0, d1)) = (self.memory_kib, self.descriptors);
        write!(f, "{} {m0} to {m1} KiB, {d0} to {d1} fds in {} s", self.name, self.lasted_ms / 1000)
    }
}

impl Memory {
    /// Samples a process now. One that has just ended is skipped.
    pub(super) fn look(&mut self, name: &str, pid: u32, ms: u64) {
        if let Some((memory_kib, descriptors)) = read(pid) {
            self.add(name, pid, Sample { ms, memory_kib, descriptors });
        }
    }

    /// Samples the descriptors of this process alone: its memory grows on purpose, since it keeps every order for the
    /// audit.
    pub(super) fn look_at_descriptors(&mut self, name: &str, ms: u64) {
        let pid = std::process::id();
        if let Some((_, descriptors)) = read(pid) {
            self.add(name, pid, Sample { ms, memory_kib: 0, descriptors });
        }
    }

    fn add(&mut self, name: &str, pid: u32, sample: Sample) {
        self.lives.entry((name.to_owned(), pid)).or_default().push(sample);
    }

    /// Every life that was long enough.
    pub(super) fn judged(&self) -> Vec<Judged> {
        self.lives.iter().filter_map(|((name, _), samples)| judge(name, samples)).collect()
    }
}

fn judge(name: &str, samples: &[Sample]) -> Option<Judged> {
    let (first, last) = (samples.first()?.ms, samples.last()?.ms);
    let warm = first + WARM_UP;
    let rest = last.checked_sub(warm).filter(|rest| *rest >= SHORTEST)?;
    let window = |from: u64, to: u64| -> Vec<Sample> {
        samples.iter().copied().filter(|sample| (from..=to).contains(&sample.ms)).collect()
    };
    let (early, late) = (window(warm, warm + rest / 3), window(last - rest / 3, last));
    let memory = |samples: &[Sample]| median(samples.iter().map(|sample| sample.memory_kib).collect());
    let descriptors = |samples: &[Sample]| median(samples.iter().map(|sample| sample.descriptors).collect());
    Some(Judged {
        name: name.to_owned(),
        lasted_ms: last - first,
        memory_kib: (memory(&early)?, memory(&late)?),
        descriptors: (descriptors(&early)?, descriptors(&late)?),
    })
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

fn read(pid: u32) -> Option<(u64, u64)> {
    let process = Path::new("/proc").join(pid.to_string());
    let memory = anonymous(&std::fs::read_to_string(process.join("status")).ok()?)?;
    let descriptors = std::fs::read_dir(process.join("fd")).ok()?.count();
    Some((memory, u64::try_from(descriptors).ok()?))
}

fn anonymous(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(seconds: u64, memory: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> u64) -> Option<Judged> {
        let sample =
            |s: u64| Sample { ms: 5_000 + s * 1_000, memory_kib: memory(s), descriptors: descriptors(s) };
        judge("orders", &(0..=seconds).map(sample).collect::<Vec<_>>())
    }

    #[test]
    fn what_warms_up_and_stays_is_flat() {
        let judged = life(120, |s| 20_000 + s.min(15) * 1_000, |s| 20 + s % 3).unwrap();
        assert!(judged.is_flat(), "{judged}");
    }

    #[test]
    fn a_single_burst_is_no_growth() {
        let judged =
            life(120, |s| if s == 118 { 90_000 } else { 20_000 }, |s| if s == 118 { 90 } else { 20 });
        assert!(judged.unwrap().is_flat());
    }

    #[test]
    fn what_keeps_growing_is_not_flat() {
        let memory = life(600, |s| 20_000 + s * 25, |_| 20).unwrap();
        assert!(!memory.is_flat(), "{memory}");
        let descriptors = life(60, |_| 20_000, |s| 20 + s / 2).unwrap();
        assert!(!descriptors.is_flat(), "{descriptors}");
    }

    #[test]
    fn a_short_life_says_nothing() {
        assert_eq!(life(20, |s| s * 100_000, |s| s * 100), None);
        assert_eq!(judge("orders", &[]), None);
    }

    #[test]
    fn memory_is_read_from_what_the_kernel_says_of_this_process() {
        assert_eq!(anonymous("VmRSS:\t  9 kB\nRssAnon:\t    1234 kB\nRssFile:\t 5 kB\n"), Some(1234));
        assert_eq!(anonymous("VmRSS: 9 kB\n"), None);
        assert_eq!(anonymous("RssAnon: many\n"), None);
        let (memory, descriptors) = read(std::process::id()).unwrap();
        assert!(memory > 0 && descriptors >= 3);
        assert_eq!(read(u32::MAX), None);
    }
}
