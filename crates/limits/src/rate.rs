//! Rate limiting by key: a bucket of tokens for each, so that a flood from one peer does not use up another's tokens.
//!
//! For requests, handshakes and log lines. Memory is bounded: beyond a number of keys those with a full bucket are
//! forgotten, and if that makes no room new keys share one bucket. Refused events are counted, and the count is returned with
//! the next event that passes; the count of a forgotten key is lost.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two sweeps, which visit all keys: under a flood the table is full at every event, and would
/// be swept at each.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A sustained rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most events at once.
    pub burst: u32,
    /// The time until one of them is given back.
    pub every: Duration,
}

impl Rate {
    /// So many events a second, and at most `burst` at once.
    #[must_use]
    pub fn per_second(events: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { burst: burst.get(), every: Duration::from_secs(1) / events.get() }
    }
}

/// A key exceeded its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of one peer; the next one is welcome in {} ms", retry_after.as_millis())]
pub struct RateLimited {
    /// The time after which an event passes, if none comes before.
    pub retry_after: Duration,
}

/// The bucket of one key, as the time at which it will be full again (the generic cell rate algorithm): that one number
/// says exactly how many tokens there are at any time, without a timer that fills it.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
    refused: u64,
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { full_at: now, refused: 0 }
    }

    /// Takes one token; on success with the number of refusals since the last success.
    fn take(&mut self, rate: Rate, now: Instant) -> Result<u64, RateLimited> {
        let full_at = self.full_at.max(now) + rate.every;
        let missing = full_at.duration_since(now);
        match missing.checked_sub(rate.every * rate.burst) {
            None | Some(Duration::ZERO) => {
                self.full_at = full_at;
                Ok(std::mem::take(&mut self.refused))
            }
            Some(retry_after) => {
                self.refused = self.refused.saturating_add(1);
                Err(RateLimited { retry_after })
            }
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// A rate for each of many keys.
pub struct RateLimiter<K> {
    rate: Rate,
    capacity: usize,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    buckets: HashMap<K, Bucket>,
    /// The bucket shared by the keys for which the table has no room.
    shared: Option<Bucket>,
    swept: Option<Instant>,
}

impl<K> fmt::Debug for RateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq> RateLimiter<K> {
    /// A limiter with this rate for each key, for at most `capacity` keys that are told apart.
    #[must_use]
    pub fn new(rate: Rate, capacity: usize) -> Self {
        let table = Table { buckets: HashMap::new(), shared: None, swept: None };
        Self { rate, capacity, table: Mutex::new(table) }
    }

    /// Takes a token of `key` for one more event. Returns how many of its events were refused since the last one that
    /// passed.
    ///
    /// # Errors
    /// When the rate is exceeded. That changes nothing for the events to come.
    pub fn check(&self, key: K, now: Instant) -> Result<u64, RateLimited> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = table.buckets.get_mut(&key) {
            return bucket.take(self.rate, now);
        }
        if table.buckets.len() >= self.capacity {
            table.sweep(now);
        }
        if table.buckets.len() < self.capacity {
            table.buckets.entry(key).or_insert_with(|| Bucket::full(now)).take(self.rate, now)
        } else {
            table.shared.get_or_insert_with(|| Bucket::full(now)).take(self.rate, now)
        }
    }
}

impl<K: Hash + Eq> Table<K> {
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|at| now.duration_since(at) >= SWEEP_EVERY) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            self.swept = Some(now);
        }
    }
}

/// The limiter of log lines: sixty at once of one kind, enough to follow what happens, then six a minute.
#[must_use]
pub fn log_lines<K: Hash + Eq>() -> RateLimiter<K> {
    /// The most keys with a bucket of their own: with 100 octets each, 200 KiB.
    const KEYS: usize = 2_048;
    RateLimiter::new(Rate { burst: 60, every: Duration::from_secs(10) }, KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(1) };

    #[test]
    fn the_burst_passes_one_more_does_not_and_what_was_refused_is_told_once() {
        let limiter = RateLimiter::new(RATE, 10);
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.check("a", now), Ok(0));
        }
        for _ in 0..5 {
            assert!(limiter.check("a", now).is_err());
        }
        assert!(limiter.check("a", now + Duration::from_millis(999)).is_err());
        assert_eq!(limiter.check("a", now + Duration::from_secs(1)), Ok(6));
        assert!(limiter.check("a", now + Duration::from_secs(1)).is_err());
        assert_eq!(limiter.check("a", now + Duration::from_secs(60)), Ok(1));
    }

    #[test]
    fn a_flood_of_one_key_takes_nothing_from_another() {
        let limiter = RateLimiter::new(RATE, 10);
        let now = Instant::now();
        let passed = (0..10_000).filter(|_| limiter.check("flood", now).is_ok()).count();
        assert_eq!(passed, 3);
        assert_eq!(limiter.check("other", now), Ok(0));
    }

    #[test]
    fn many_keys_do_not_grow_the_table_and_share_what_is_left() {
        let limiter = RateLimiter::new(RATE, 100);
        let now = Instant::now();
        let passed = (0..10_000).filter(|key| limiter.check(*key, now).is_ok()).count();
        assert_eq!(passed, 100 + 3);
        assert_eq!(limiter.table.lock().unwrap().buckets.len(), 100);
    }

    #[test]
    fn keys_that_were_quiet_make_room() {
        let limiter = RateLimiter::new(RATE, 10);
        let now = Instant::now();
        for key in 0..10 {
            assert_eq!(limiter.check(key, now), Ok(0));
        }
        let later = now + Duration::from_secs(2);
        for key in 10..20 {
            assert_eq!(limiter.check(key, later), Ok(0));
        }
        assert_eq!(limiter.table.lock().unwrap().buckets.len(), 10);
    }

    #[test]
    fn a_rate_over_a_long_time_is_the_rate() {
        let limiter = RateLimiter::new(RATE, 1);
        let begin = Instant::now();
        let passed =
            (0..100_000).filter(|at| limiter.check((), begin + Duration::from_millis(*at)).is_ok()).count();
        assert_eq!(passed, 3 + 99);
    }

    #[test]
    fn who_is_refused_hears_exactly_when_the_next_one_passes() {
        let n = |n| NonZeroU32::new(n).unwrap();
        let limiter = RateLimiter::new(Rate::per_second(n(3), n(2)), 10);
        let now = Instant::now();
        assert_eq!((limiter.check("a", now), limiter.check("a", now)), (Ok(0), Ok(0)));
        let every = Duration::from_nanos(333_333_333);
        assert_eq!(limiter.check("a", now), Err(RateLimited { retry_after: every }));
        let later = now + Duration::from_millis(100);
        let left = every - Duration::from_millis(100);
        assert_eq!(limiter.check("a", later), Err(RateLimited { retry_after: left }));
        let just_before = later + left - Duration::from_nanos(1);
        assert_eq!(
            limiter.check("a", just_before),
            Err(RateLimited { retry_after: Duration::from_nanos(1) })
        );
        limiter.check("b", now).unwrap();
        assert_eq!(limiter.check("a", later + left), Ok(3));
        assert_eq!(limiter.check("a", later + left), Err(RateLimited { retry_after: every }));
    }
}
