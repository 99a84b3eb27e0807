//! A clock with a deliberate offset, for tests of clock skew on a host with one clock. Not part of ordinary builds.

use std::time::{Duration, SystemTime};

use avouch_time::clock::{Clock, SystemClock};

/// The system's clock, off by some seconds.
#[derive(Debug)]
pub(super) struct WrongClock {
    pub(super) offset_seconds: i64,
}

impl Clock for WrongClock {
    fn now(&self) -> SystemTime {
        let (now, by) = (SystemClock.now(), Duration::from_secs(self.offset_seconds.unsigned_abs()));
        let shown = if self.offset_seconds < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        shown.unwrap_or(now)
    }
}
