//! How often something happens for one peer: an allowance per key, so that a flood from one takes nothing from another.
//!
//! For log lines and for handshakes. Memory is bounded: beyond a number of keys those with their whole allowance left
//! are forgotten, and if that makes no room the newcomers share one allowance. What was held back is counted and told
//! with the next event that passes; of a key that was forgotten the count is lost.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two sweeps, which walk over all keys.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// So many at once, and one more after each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// How long until one of them is given back.
    pub every: Duration,
}

/// What one key has used of its rate.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// When all of it will have been given back.
    whole_at: Instant,
    held_back: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { whole_at: now, held_back: 0 }
    }

    /// Takes one; on success with the number of those held back since the last success.
    fn take(&mut self, rate: Rate, now: Instant) -> Option<u64> {
        let after = self.whole_at.max(now) + rate.every;
        if after.duration_since(now) > rate.every * rate.burst {
            self.held_back = self.held_back.saturating_add(1);
            return None;
        }
        self.whole_at = after;
        Some(std::mem::take(&mut self.held_back))
    }

    fn is_whole(&self, now: Instant) -> bool {
        self.whole_at <= now
    }
}

/// Allowances by key.
pub struct Throttle<K> {
    rate: Rate,
    capacity: usize,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    keys: HashMap<K, Allowance>,
    the_rest: Option<Allowance>,
    swept: Option<Instant>,
}

impl<K> fmt::Debug for Throttle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq> Throttle<K> {
    /// This rate for each key, for at most `capacity` keys that are told apart.
    #[must_use]
    pub fn new(rate: Rate, capacity: usize) -> Self {
        let table = Table { keys: HashMap::new(), the_rest: None, swept: None };
        Self { rate, capacity, table: Mutex::new(table) }
    }

    /// Whether one more of `key` may happen now; then also how many were held back since the last one.
    pub fn pass(&self, key: K, now: Instant) -> Option<u64> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(allowance) = table.keys.get_mut(&key) {
            return allowance.take(self.rate, now);
        }
        if table.keys.len() >= self.capacity {
            table.sweep(now);
        }
        if table.keys.len() < self.capacity {
            table.keys.entry(key).or_insert_with(|| Allowance::new(now)).take(self.rate, now)
        } else {
            table.the_rest.get_or_insert_with(|| Allowance::new(now)).take(self.rate, now)
        }
    }
}

impl<K: Hash + Eq> Table<K> {
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|at| now.duration_since(at) >= SWEEP_EVERY) {
            self.keys.retain(|_, allowance| !allowance.is_whole(now));
            self.swept = Some(now);
        }
    }
}

/// How often the same is written about the same: enough at once to tell a story, then six lines a minute.
#[must_use]
pub fn log_lines<K: Hash + Eq>() -> Throttle<K> {
    /// With 100 octets each, 200 KiB.
    const TOLD_APART: usize = 2_048;
    Throttle::new(Rate { burst: 60, every: Duration::from_secs(10) }, TOLD_APART)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(1) };

    #[test]
    fn the_burst_passes_one_more_does_not_and_what_was_held_back_is_told_once() {
        let throttle = Throttle::new(RATE, 10);
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(throttle.pass("a", now), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(throttle.pass("a", now), None);
        }
        assert_eq!(throttle.pass("a", now + Duration::from_millis(999)), None);
        assert_eq!(throttle.pass("a", now + Duration::from_secs(1)), Some(6));
        assert_eq!(throttle.pass("a", now + Duration::from_secs(1)), None);
        assert_eq!(throttle.pass("a", now + Duration::from_secs(60)), Some(1));
    }

    #[test]
    fn a_flood_of_one_key_takes_nothing_from_another() {
        let throttle = Throttle::new(RATE, 10);
        let now = Instant::now();
        let passed = (0..10_000).filter(|_| throttle.pass("flood", now).is_some()).count();
        assert_eq!(passed, 3);
        assert_eq!(throttle.pass("other", now), Some(0));
    }

    #[test]
    fn many_keys_do_not_grow_the_table_and_share_what_is_left() {
        let throttle = Throttle::new(RATE, 100);
        let now = Instant::now();
        let passed = (0..10_000).filter(|key| throttle.pass(*key, now).is_some()).count();
        assert_eq!(passed, 100 + 3);
        assert_eq!(throttle.table.lock().unwrap().keys.len(), 100);
    }

    #[test]
    fn keys_that_were_quiet_make_room() {
        let throttle = Throttle::new(RATE, 10);
        let now = Instant::now();
        for key in 0..10 {
            assert_eq!(throttle.pass(key, now), Some(0));
        }
        let later = now + Duration::from_secs(2);
        for key in 10..20 {
            assert_eq!(throttle.pass(key, later), Some(0));
        }
        assert_eq!(throttle.table.lock().unwrap().keys.len(), 10);
    }

    #[test]
    fn a_rate_over_a_long_time_is_the_rate() {
        let throttle = Throttle::new(RATE, 1);
        let begin = Instant::now();
        let passed =
            (0..100_000).filter(|at| throttle.pass((), begin + Duration::from_millis(*at)).is_some()).count();
        assert_eq!(passed, 3 + 99);
    }
}
