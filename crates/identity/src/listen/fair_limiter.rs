//! A limit on how many of something are held at once, fair by key: when all slots are taken, the oldest slot of the key
//! with the most is evicted for the next one.
//!
//! So no key locks out the others by taking all slots: a flood loses its own oldest slots, and the handshake of a normal
//! client, which takes milliseconds, is over before it is the oldest. There are never more than `limit` slots in the
//! table; the holder of an evicted one lets go as soon as its task runs. The lock is held for a few operations, and for
//! a walk over the keys (at most `limit`) when all slots are taken.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// A number of slots, shared out by key.
#[derive(Debug)]
pub struct FairLimiter<K> {
    limit: usize,
    table: Arc<Mutex<Table<K>>>,
}

/// The slots that are taken, by key, oldest first.
#[derive(Debug)]
struct Table<K> {
    next: u64,
    slots: usize,
    keys: HashMap<K, BTreeMap<u64, CancellationToken>>,
}

/// One slot; given back when it is dropped.
#[derive(Debug)]
pub struct Slot<K: Key> {
    key: K,
    number: u64,
    out: CancellationToken,
    table: Arc<Mutex<Table<K>>>,
}

/// A key that slots are counted by.
pub trait Key: Copy + Eq + Hash {}
impl<K: Copy + Eq + Hash> Key for K {}

impl<K: Key> FairLimiter<K> {
    /// A limiter of `limit` slots, at least one.
    pub fn new(limit: usize) -> Self {
        let table = Table { next: 0, slots: 0, keys: HashMap::new() };
        Self { limit: limit.max(1), table: Arc::new(Mutex::new(table)) }
    }

    /// Takes a slot for `key`, evicting another if none is left.
    pub fn acquire(&self, key: K) -> Slot<K> {
        self.acquire_with(key, CancellationToken::new())
    }

    /// As [`FairLimiter::acquire`], for a holder that is told of its eviction by cancelling `out`.
    pub fn acquire_with(&self, key: K, out: CancellationToken) -> Slot<K> {
        let mut table = lock(&self.table);
        let number = table.insert(key, &out);
        let evicted = if table.slots > self.limit { table.evict() } else { None };
        drop(table);
        if let Some((_, token)) = evicted {
            token.cancel();
        }
        Slot { key, number, out, table: Arc::clone(&self.table) }
    }

    /// As [`FairLimiter::acquire`], but when no slot is left a key that would then have as many as the one with the most
    /// gets none: no slot is replaced by another of its own key, or by one of a key that has as many.
    pub fn acquire_if_fewer(&self, key: K, out: CancellationToken) -> Option<Slot<K>> {
        let mut table = lock(&self.table);
        let mut evicted = None;
        if table.slots >= self.limit {
            let most = table.keys.values().map(BTreeMap::len).max().unwrap_or_default();
            let own = table.keys.get(&key).map_or(0, BTreeMap::len);
            if own + 1 >= most {
                return None;
            }
            evicted = table.evict();
        }
        let number = table.insert(key, &out);
        drop(table);
        if let Some((_, token)) = evicted {
            token.cancel();
        }
        Some(Slot { key, number, out, table: Arc::clone(&self.table) })
    }

    /// Evicts a slot although there are others left, because something else has run out; says whose it was.
    pub fn make_room(&self) -> Option<K> {
        let (key, token) = lock(&self.table).evict()?;
        token.cancel();
        Some(key)
    }
}

impl<K: Key> Table<K> {
    fn insert(&mut self, key: K, out: &CancellationToken) -> u64 {
        let number = self.next;
        self.next += 1;
        self.keys.entry(key).or_default().insert(number, out.clone());
        self.slots += 1;
        number
    }

    /// Takes the oldest slot of the key with the most off the table; among equals the oldest of all.
    fn evict(&mut self) -> Option<(K, CancellationToken)> {
        let (key, number) = self
            .keys
            .iter()
            .filter_map(|(key, slots)| Some((*key, slots.len(), *slots.first_key_value()?.0)))
            .max_by_key(|(_, slots, oldest)| (*slots, Reverse(*oldest)))
            .map(|(key, _, oldest)| (key, oldest))?;
        Some((key, self.remove(key, number)?))
    }

    fn remove(&mut self, key: K, number: u64) -> Option<CancellationToken> {
        let slots = self.keys.get_mut(&key)?;
        let token = slots.remove(&number)?;
        if slots.is_empty() {
            self.keys.remove(&key);
        }
        self.slots -= 1;
        Some(token)
    }
}

impl<K: Key> Slot<K> {
    /// Resolves when the slot was given to somebody else.
    pub async fn evicted(&self) {
        self.out.cancelled().await;
    }
}

impl<K: Key> Drop for Slot<K> {
    fn drop(&mut self) {
        // One that was evicted is not found any more, and need not be.
        lock(&self.table).remove(self.key, self.number);
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_out(slot: &Slot<u8>) -> bool {
        slot.out.is_cancelled()
    }

    #[test]
    fn at_the_limit_nobody_goes_and_one_past_it_the_oldest_of_the_many() {
        let room = FairLimiter::new(4);
        let honest = room.acquire(1);
        let flood: Vec<_> = (0..3).map(|_| room.acquire(2)).collect();
        assert!(!is_out(&honest) && !flood.iter().any(is_out));
        let more = room.acquire(2);
        assert_eq!(flood.iter().map(is_out).collect::<Vec<_>>(), [true, false, false]);
        assert!(!is_out(&honest) && !is_out(&more));
        let newcomer = room.acquire(3);
        assert_eq!(flood.iter().map(is_out).collect::<Vec<_>>(), [true, true, false]);
        assert!(!is_out(&honest) && !is_out(&newcomer));
    }

    #[test]
    fn a_flood_of_one_key_never_shows_out_another() {
        let room = FairLimiter::new(8);
        let honest: Vec<_> = (0..4).map(|key| room.acquire(key)).collect();
        let flood: Vec<_> = (0..10_000).map(|_| room.acquire(200)).collect();
        assert!(!honest.iter().any(is_out));
        assert_eq!(flood.iter().filter(|slot| !is_out(slot)).count(), 4);
        assert_eq!(lock(&room.table).slots, 8);
    }

    #[test]
    fn among_equals_the_oldest_goes() {
        let room = FairLimiter::new(3);
        let seats: Vec<_> = (0..5).map(|key| room.acquire(key)).collect();
        assert_eq!(seats.iter().map(is_out).collect::<Vec<_>>(), [true, true, false, false, false]);
    }

    #[test]
    fn when_something_else_runs_out_the_same_one_goes_until_nobody_is_left() {
        let room = FairLimiter::new(10);
        assert_eq!(room.make_room(), None);
        let seats = [room.acquire(1), room.acquire(2), room.acquire(2)];
        assert_eq!(room.make_room(), Some(2));
        assert_eq!(seats.iter().map(is_out).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!([room.make_room(), room.make_room(), room.make_room()], [Some(1), Some(2), None]);
    }

    #[test]
    fn who_has_most_is_refused_where_nobody_is_to_replace_their_own_guests() {
        let room = FairLimiter::new(4);
        let enter = |key: u8| room.acquire_if_fewer(key, CancellationToken::new());
        let flood: Vec<_> = (0..4).map(|_| enter(1).unwrap()).collect();
        assert!(enter(1).is_none() && !flood.iter().any(is_out));
        let honest = [enter(2).unwrap(), enter(3).unwrap()];
        assert_eq!(flood.iter().map(is_out).collect::<Vec<_>>(), [true, true, false, false]);
        // With two they would have as many as the flood has.
        assert!(enter(2).is_none() && enter(1).is_none());
        assert!(!honest.iter().any(is_out));
        drop(flood);
        assert!(enter(2).is_some());
        assert_eq!(lock(&room.table).slots, 2);
    }

    #[test]
    fn a_guest_that_brings_its_own_token_is_shown_out_by_it() {
        let room = FairLimiter::new(1);
        let out = CancellationToken::new();
        let _first = room.acquire_with(1_u8, out.clone());
        let _second = room.acquire(1);
        assert!(out.is_cancelled());
    }

    #[test]
    fn who_leaves_makes_room_and_nothing_is_kept_of_them() {
        let room = FairLimiter::new(2);
        for key in 0..100 {
            let kept = room.acquire(key);
            let other = room.acquire(key);
            assert!(!is_out(&kept) && !is_out(&other));
        }
        let evicted = room.acquire(1);
        let _others = [room.acquire(1), room.acquire(1)];
        assert!(is_out(&evicted));
        drop(evicted);
        let table = lock(&room.table);
        assert_eq!((table.slots, table.keys.len()), (2, 1));
        drop(table);
    }
}
