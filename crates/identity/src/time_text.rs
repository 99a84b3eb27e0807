//! Lengths of time in messages, in one unit each.

use std::time::{Duration, SystemTime};

/// The time between two moments; none if `later` is the earlier one.
pub(crate) fn apart(earlier: SystemTime, later: SystemTime) -> String {
    length(later.duration_since(earlier).unwrap_or_default())
}

/// A length of time in one unit, as in `12 min`.
pub(crate) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
