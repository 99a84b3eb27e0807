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
pub struct Fair<K> {
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
pub struct Seat<K: Key> {
    key: K,
    number: u64,
    out: CancellationToken,
    table: Arc<Mutex<Table<K>>>,
}

/// What guests are counted by.
pub trait Key: Copy + Eq + Hash {}
impl<K: Copy + Eq + Hash> Key for K {}

impl<K: Key> Fair<K> {
    /// Room for `limit` guests, at least one.
    pub fn new(limit: usize) -> Self {
        let table = Table { next: 0, guests: 0, keys: HashMap::new() };
        Self { limit: limit.max(1), table: Arc::new(Mutex::new(table)) }
    }

    /// Takes a place for `key`, showing somebody out if there is none left.
    pub fn enter(&self, key: K) -> Seat<K> {
        self.enter_with(key, CancellationToken::new())
    }

    /// As [`Fair::enter`], for a guest that is shown out by cancelling `out`.
    pub fn enter_with(&self, key: K, out: CancellationToken) -> Seat<K> {
        let mut table = lock(&self.table);
        let number = table.insert(key, &out);
        let shown_out = if table.guests > self.limit { table.show_out() } else { None };
        drop(table);
        if let Some((_, token)) = shown_out {
            token.cancel();
        }
        Seat { key, number, out, table: Arc::clone(&self.table) }
    }

    /// As [`Fair::enter`], but when there is no place left a key that would then have as many guests as the one with
    /// most is refused: nobody's guests are replaced by their own, or by those of somebody who has as many.
    pub fn enter_if_fewer(&self, key: K, out: CancellationToken) -> Option<Seat<K>> {
        let mut table = lock(&self.table);
        let mut shown_out = None;
        if table.guests >= self.limit {
            let most = table.keys.values().map(BTreeMap::len).max().unwrap_or_default();
            let own = table.keys.get(&key).map_or(0, BTreeMap::len);
            if own + 1 >= most {
                return None;
            }
            shown_out = table.show_out();
        }
        let number = table.insert(key, &out);
        drop(table);
        if let Some((_, token)) = shown_out {
            token.cancel();
        }
        Some(Seat { key, number, out, table: Arc::clone(&self.table) })
    }

    /// Shows somebody out although there is room, because something else has run out; whose guest it was.
    pub fn make_room(&self) -> Option<K> {
        let (key, token) = lock(&self.table).show_out()?;
        token.cancel();
        Some(key)
    }
}

impl<K: Key> Table<K> {
    fn insert(&mut self, key: K, out: &CancellationToken) -> u64 {
        let number = self.next;
        self.next += 1;
        self.keys.entry(key).or_default().insert(number, out.clone());
        self.guests += 1;
        number
    }

    /// Takes the oldest guest of the key with the most off the table; among equals the oldest of all.
    fn show_out(&mut self) -> Option<(K, CancellationToken)> {
        let (key, number) = self
            .keys
            .iter()
            .filter_map(|(key, guests)| Some((*key, guests.len(), *guests.first_key_value()?.0)))
            .max_by_key(|(_, guests, oldest)| (*guests, Reverse(*oldest)))
            .map(|(key, _, oldest)| (key, oldest))?;
        Some((key, self.remove(key, number)?))
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
    pub async fn shown_out(&self) {
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
        assert_eq!(room.make_room(), None);
        let seats = [room.enter(1), room.enter(2), room.enter(2)];
        assert_eq!(room.make_room(), Some(2));
        assert_eq!(seats.iter().map(is_out).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!([room.make_room(), room.make_room(), room.make_room()], [Some(1), Some(2), None]);
    }

    #[test]
    fn who_has_most_is_refused_where_nobody_is_to_replace_their_own_guests() {
        let room = Fair::new(4);
        let enter = |key: u8| room.enter_if_fewer(key, CancellationToken::new());
        let flood: Vec<_> = (0..4).map(|_| enter(1).unwrap()).collect();
        assert!(enter(1).is_none() && !flood.iter().any(is_out));
        let honest = [enter(2).unwrap(), enter(3).unwrap()];
        assert_eq!(flood.iter().map(is_out).collect::<Vec<_>>(), [true, true, false, false]);
        // With two they would have as many as the flood has.
        assert!(enter(2).is_none() && enter(1).is_none());
        assert!(!honest.iter().any(is_out));
        drop(flood);
        assert!(enter(2).is_some());
        assert_eq!(lock(&room.table).guests, 2);
    }

    #[test]
    fn a_guest_that_brings_its_own_token_is_shown_out_by_it() {
        let room = Fair::new(1);
        let out = CancellationToken::new();
        let _first = room.enter_with(1_u8, out.clone());
        let _second = room.enter(1);
        assert!(out.is_cancelled());
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
