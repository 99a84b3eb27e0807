//! Room for so many guests, shared out fairly: to make room for one more, the guest that has been there longest among
//! those of the key that has most is shown out.
//!
//! So nobody is locked out by somebody else who takes all the room: a flood costs the flood its own oldest guests, and
//! an honest handshake, which takes milliseconds, is over before it is the oldest. There are never more than `limit`
//! guests in the table; one that was shown out leaves as soon as its task runs. The lock is held for a few operations,
//! and for a walk over the keys (at most `limit`) when there is no room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The room.
#[derive(Debug)]
pub(super) struct Fair<K> {
    limit: usize,
    table: Arc<Mutex<Table<K>>>,
}

/// Guests by key, oldest first.
#[derive(Debug)]
struct Table<K> {
    next: u64,
    guests: usize,
    keys: HashMap<K, BTreeMap<u64, CancellationToken>>,
}

/// One guest's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat<K: Key> {
    key: K,
    number: u64,
    out: CancellationToken,
    table: Arc<Mutex<Table<K>>>,
}

/// What guests are counted by.
pub(super) trait Key: Copy + Eq + Hash {}
impl<K: Copy + Eq + Hash> Key for K {}

impl<K: Key> Fair<K> {
    /// Room for `limit` guests, at least one.
    pub(super) fn new(limit: usize) -> Self {
        let table = Table { next: 0, guests: 0, keys: HashMap::new() };
        Self { limit: limit.max(1), table: Arc::new(Mutex::new(table)) }
    }

    /// Takes a place for `key`, showing somebody out if there is none left.
    pub(super) fn enter(&self, key: K) -> Seat<K> {
        let out = CancellationToken::new();
        let mut table = lock(&self.table);
        let number = table.next;
        table.next += 1;
        table.keys.entry(key).or_default().insert(number, out.clone());
        table.guests += 1;
        let shown_out = if table.guests > self.limit { table.show_out() } else { None };
        drop(table);
        if let Some(token) = shown_out {
            token.cancel();
        }
        Seat { key, number, out, table: Arc::clone(&self.table) }
    }

    /// Shows somebody out although there is room, because something else has run out; whether there was anybody.
    pub(super) fn make_room(&self) -> bool {
        let shown_out = lock(&self.table).show_out();
        shown_out.inspect(CancellationToken::cancel).is_some()
    }
}

impl<K: Key> Table<K> {
    /// Takes the oldest guest of the key with the most off the table; among equals the oldest of all.
    fn show_out(&mut self) -> Option<CancellationToken> {
        let (key, number) = self
            .keys
            .iter()
            .filter_map(|(key, guests)| Some((*key, guests.len(), *guests.first_key_value()?.0)))
            .max_by_key(|(_, guests, oldest)| (*guests, Reverse(*oldest)))
            .map(|(key, _, oldest)| (key, oldest))?;
        self.remove(key, number)
    }

    fn remove(&mut self, key: K, number: u64) -> Option<CancellationToken> {
        let guests = self.keys.get_mut(&key)?;
        let token = guests.remove(&number)?;
        if guests.is_empty() {
            self.keys.remove(&key);
        }
        self.guests -= 1;
        Some(token)
    }
}

impl<K: Key> Seat<K> {
    /// Resolves when the place was given to somebody else.
    pub(super) async fn shown_out(&self) {
        self.out.cancelled().await;
    }
}

impl<K: Key> Drop for Seat<K> {
    fn drop(&mut self) {
        // Nothing is found of a guest that was shown out.
        lock(&self.table).remove(self.key, self.number);
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_out(seat: &Seat<u8>) -> bool {
        seat.out.is_cancelled()
    }

    #[test]
    fn at_the_limit_nobody_goes_and_one_past_it_the_oldest_of_the_many() {
        let room = Fair::new(4);
        let honest = room.enter(1);
        let flood: Vec<_> = (0..3).map(|_| room.enter(2)).collect();
        assert!(!is_out(&honest) && !flood.iter().any(is_out));
        let more = room.enter(2);
        assert_eq!(flood.iter().map(is_out).collect::<Vec<_>>(), [true, false, false]);
        assert!(!is_out(&honest) && !is_out(&more));
        let newcomer = room.enter(3);
        assert_eq!(flood.iter().map(is_out).collect::<Vec<_>>(), [true, true, false]);
        assert!(!is_out(&honest) && !is_out(&newcomer));
    }

    #[test]
    fn a_flood_of_one_key_never_shows_out_another() {
        let room = Fair::new(8);
        let honest: Vec<_> = (0..4).map(|key| room.enter(key)).collect();
        let flood: Vec<_> = (0..10_000).map(|_| room.enter(200)).collect();
        assert!(!honest.iter().any(is_out));
        assert_eq!(flood.iter().filter(|seat| !is_out(seat)).count(), 4);
        assert_eq!(lock(&room.table).guests, 8);
    }

    #[test]
    fn among_equals_the_oldest_goes() {
        let room = Fair::new(3);
        let seats: Vec<_> = (0..5).map(|key| room.enter(key)).collect();
        assert_eq!(seats.iter().map(is_out).collect::<Vec<_>>(), [true, true, false, false, false]);
    }

    #[test]
    fn when_something_else_runs_out_the_same_one_goes_until_nobody_is_left() {
        let room = Fair::new(10);
        assert!(!room.make_room());
        let seats = [room.enter(1), room.enter(2), room.enter(2)];
        assert!(room.make_room());
        assert_eq!(seats.iter().map(is_out).collect::<Vec<_>>(), [false, true, false]);
        assert!(room.make_room() && room.make_room() && !room.make_room());
    }

    #[test]
    fn who_leaves_makes_room_and_nothing_is_kept_of_them() {
        let room = Fair::new(2);
        for key in 0..100 {
            let kept = room.enter(key);
            let other = room.enter(key);
            assert!(!is_out(&kept) && !is_out(&other));
        }
        let shown_out = room.enter(1);
        let _others = [room.enter(1), room.enter(1)];
        assert!(is_out(&shown_out));
        drop(shown_out);
        let table = lock(&room.table);
        assert_eq!((table.guests, table.keys.len()), (2, 1));
        drop(table);
    }
}
