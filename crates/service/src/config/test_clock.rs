//! A clock that is wrong on purpose: the host of a test of clock skew, which has but one clock. In no ordinary build.

use std::time::{Duration, SystemTime};

use avouch_spiffe::clock::{Clock, SystemClock};

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
