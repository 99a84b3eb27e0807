//! The reserve of descriptors: numbers that no listener takes, so that a flood of connections never keeps the process
//! from its own work.
//!
//! Renewal, recovery, upstream connections, name lookups, policies, records and the store need descriptors when a
//! flood has taken all that listeners may have. The kernel hands out the lowest free number, so a listener that keeps no
//! connection above a bound leaves all numbers above it to everything else, without any count or lock.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::process::{Resource, getrlimit};

/// Descriptors that no listener takes. A renewal opens a connection or two and a few files, each upstream a connection
/// and during a rotation two, a store four files, each name lookup under way one to three. Of a small limit a quarter.
const RESERVE: u64 = 64;

/// Descriptors that only listeners with few connections take ([`Share::Few`]): the plain health port at its limit, and
/// some administrators. Of a small limit an eighth.
const FEW: u64 = 96;

/// The descriptors that no listener with many connections takes.
pub(crate) const KEPT: u64 = RESERVE + FEW;

/// The share of the process's descriptors that a listener may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All but the reserve and the share of [`Share::Few`]: for listeners whose connections are bounded by thousands.
    Many,
    /// All but the reserve: for listeners with a small limit of their own, which must answer while the others have
    /// run out.
    Few,
}

/// The shortage of descriptors for which an accepted connection is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    limit: u64,
    kept: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, kept } = self;
        write!(
            f,
            "out of descriptors: of the {limit} this process may have, this listener leaves {kept} to others (renewal, \
             upstreams, files, health)"
        )
    }
}

impl Share {
    /// Whether this descriptor of an accepted connection is one that the listener leaves to others.
    pub(super) fn shortage(self, descriptor: BorrowedFd<'_>) -> Option<Shortage> {
        // Each time: the limit of a running process may be changed (prlimit(1)), and asking costs less than accept(2).
        let limit = limit()?;
        let number = u64::try_from(descriptor.as_raw_fd()).unwrap_or_default();
        let kept = self.leaves(limit);
        (number >= limit.saturating_sub(kept)).then_some(Shortage { limit, kept })
    }

    /// The number of `limit` descriptors that it leaves to others.
    fn leaves(self, limit: u64) -> u64 {
        let reserve = RESERVE.min(limit / 4);
        match self {
            Self::Few => reserve,
            Self::Many => reserve + FEW.min(limit / 8),
        }
    }
}

/// The number of descriptors that this process may have (the soft limit), if there is a limit.
#[must_use]
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_leave_a_reserve_and_those_with_many_connections_more() {
        for (limit, few, many) in [
            (0, 0, 0),
            (3, 0, 0),
            (64, 16, 24),
            (100, 25, 37),
            (256, 64, 96),
            (1024, 64, 160),
            (20_480, 64, 160),
        ] {
            assert_eq!((Share::Few.leaves(limit), Share::Many.leaves(limit)), (few, many), "of {limit}");
        }
    }

    #[test]
    fn more_than_half_of_any_limit_is_for_connections() {
        for limit in 8..10_000 {
            assert!(Share::Many.leaves(limit) * 2 < limit, "of {limit}");
        }
    }
}
