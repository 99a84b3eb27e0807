//! The delay before a connection that was made with an older SVID gives way to one with the newer.
//!
//! Both sides move after a renewal: channels open another connection, servers ask their peers to. So nothing hangs on a
//! serial number that has had its day, and revoking it hits whoever holds a copy of its key, and not its owner.

use std::time::Duration;

use crate::jitter;

/// The SVIDs of a fleet that was started together, or waited for its issuer together, are renewed together. The move to
/// the new one is put off by up to a twentieth of what the old connection has left, so it is never late, and by ten
/// seconds at most, so that a renewal is seen to arrive.
const MOVE_SHARE: f64 = 0.05;
const LONGEST_MOVE: Duration = Duration::from_secs(10);

/// The delay for a connection that has this long left, evenly spread from nothing to the longest.
pub(crate) fn move_delay(left: Duration) -> Duration {
    let longest = left.mul_f64(MOVE_SHARE).min(LONGEST_MOVE);
    jitter::around(longest / 2, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_comes_early_and_at_most_ten_seconds_late() {
        let longest = |left: u64| {
            let draws = (0..1000).map(|_| move_delay(Duration::from_secs(left)));
            draws.max().unwrap_or_default()
        };
        assert!(longest(20) <= Duration::from_secs(1) && longest(20) > Duration::from_millis(500));
        assert!(longest(1_000_000) <= LONGEST_MOVE);
        assert_eq!(longest(0), Duration::ZERO);
    }
}
