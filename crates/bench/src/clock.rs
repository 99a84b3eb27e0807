//! The clocks that figures are taken by.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The time since the machine started: the same in all processes, and never set.
#[must_use]
pub fn monotonic() -> Duration {
    duration(clock_gettime(ClockId::Monotonic))
}

/// The CPU time of this thread.
#[must_use]
pub fn thread_cpu() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_computes_longer_than_it_lives() {
        let (began, cpu) = (monotonic(), thread_cpu());
        let mut sum = 0_u64;
        while thread_cpu() == cpu {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_cpu() - cpu <= monotonic() - began + Duration::from_millis(1), "{sum}");
    }
}
