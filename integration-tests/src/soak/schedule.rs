//! The schedule of the kills, drawn from a seed, so that a run can be repeated as far as timing allows.

use std::time::Duration;

/// The processes that are killed. Those that store money, stock and certificates are drawn most often.
const VICTIMS: [&str; 11] = [
    "orders",
    "payments",
    "ledger",
    "inventory",
    "issuer",
    "orders",
    "payments",
    "ledger",
    "issuer",
    "storefront",
    "reports",
];

/// One kill in this many hits a process a second time while it recovers from the first.
const TWICE: u64 = 8;

/// A sequence that looks random and is the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 when that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_number().checked_rem(limit).unwrap_or(0)
    }

    /// A time up to `limit`, to the microsecond.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(micros.saturating_add(1)))
    }

    /// One of them.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(all.len()).unwrap_or(0));
        all.get(usize::try_from(at).ok()?)
    }
}

/// One kill to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blow {
    /// Whom it hits.
    pub victim: &'static str,
    /// How long after everything is back from the last one.
    pub after: Duration,
    /// The time after the restart at which it is killed again, ready or not.
    pub again: Option<Duration>,
}

/// An endless sequence of kills.
#[derive(Debug, Clone)]
pub struct Schedule {
    random: Random,
    /// The longest pause between two kills.
    apart: Duration,
}

impl Schedule {
    /// The kills of `seed`, each at most `apart` after everything is back from the one before.
    #[must_use]
    pub fn new(seed: u64, apart: Duration) -> Self {
        Self { random: Random::new(seed), apart }
    }

    /// The next.
    pub fn next_blow(&mut self) -> Blow {
        let victim = self.random.one_of(&VICTIMS).copied().unwrap_or("orders");
        let after = self.random.up_to(self.apart);
        let twice = self.random.below(TWICE) == 0;
        let again = self.random.up_to(Duration::from_millis(150));
        Blow { victim, after, again: twice.then_some(again) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_demo::paths::SERVICES;
    use std::collections::BTreeMap;

    const APART: Duration = Duration::from_millis(300);

    fn blows(seed: u64, count: usize) -> Vec<Blow> {
        let mut schedule = Schedule::new(seed, APART);
        (0..count).map(|_| schedule.next_blow()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_kills_and_another_seed_others() {
        assert_eq!(blows(7, 50), blows(7, 50));
        assert_ne!(blows(7, 50), blows(8, 50));
    }

    #[test]
    fn everybody_is_hit_and_those_who_keep_books_most() {
        let mut hits = BTreeMap::new();
        for blow in blows(1, 1000) {
            *hits.entry(blow.victim).or_insert(0) += 1;
        }
        assert_eq!(hits.len(), SERVICES.len() + 1);
        assert!(hits.values().all(|count| *count > 40), "{hits:?}");
        assert!(["orders", "payments", "ledger", "issuer"].iter().all(|name| hits[name] > hits["reports"]));
    }

    #[test]
    fn no_pause_is_longer_than_asked_for_and_some_hit_twice() {
        let blows = blows(3, 1000);
        assert!(blows.iter().all(|blow| blow.after <= APART));
        assert!(blows.iter().any(|blow| blow.after < APART / 10));
        let twice = blows.iter().filter(|blow| blow.again.is_some()).count();
        assert!((50..250).contains(&twice), "{twice}");
    }

    #[test]
    fn nothing_is_chosen_from_nothing() {
        let mut random = Random::new(1);
        assert_eq!(random.one_of::<u8>(&[]), None);
        assert_eq!((random.below(0), random.up_to(Duration::ZERO)), (0, Duration::ZERO));
    }
}
