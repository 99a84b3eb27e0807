//! The processes whose trust streams are open, and which generation each of them uses.
//!
//! Kept in memory: a stream ends with the issuer. What a process acknowledged is in the store beside it, so that one without
//! a stream is not forgotten.

use avouch_spiffe::{Generation, PeerIdentity, SpiffeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// The bytes of an instance id.
const INSTANCE_BYTES: usize = 16;

/// The id of one process: random, for as long as it runs.
pub(crate) type Instance = [u8; INSTANCE_BYTES];

/// A process with an open trust stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscriber {
    /// Its identity.
    pub(crate) spiffe_id: SpiffeId,
    /// The serial number of the certificate that it presented.
    pub(crate) serial: String,
    /// The end of that certificate.
    pub(crate) not_after: SystemTime,
    /// The addresses that it advertises.
    pub(crate) addresses: Vec<String>,
    /// Its id; `None`: it names none.
    pub(crate) instance: Option<Instance>,
    /// The generation that it uses; `None`: it knows no generations.
    pub(crate) generation: Option<Generation>,
    /// When it said so.
    pub(crate) acknowledged_at: SystemTime,
    /// The connections that it has ended because of revocations.
    pub(crate) connections_ended: u64,
    /// Since when it has been behind the published state.
    behind_since: Option<Instant>,
}

impl Subscriber {
    /// A process that has said nothing yet.
    pub(crate) fn new(peer: &PeerIdentity, now: SystemTime) -> Self {
        Self {
            spiffe_id: peer.spiffe_id().clone(),
            serial: peer.serial().to_owned(),
            not_after: peer.not_after(),
            addresses: Vec::new(),
            instance: None,
            generation: None,
            acknowledged_at: now,
            connections_ended: 0,
            behind_since: None,
        }
    }
}

/// All of them; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Subscribers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Mutex<Table>,
    /// Grows with every change.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Table {
    next: u64,
    published: Generation,
    streams: HashMap<u64, Subscriber>,
}

/// How far behind the subscribers are that know generations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// How many are behind the published generation.
    pub(crate) behind: usize,
    /// For how long the one has been that has been longest.
    pub(crate) longest: Duration,
}

impl Subscribers {
    /// Nobody yet, at an issuer that has published this.
    pub(crate) fn new(published: Generation) -> Self {
        let table = Table { next: 0, published, streams: HashMap::new() };
        Self { inner: Arc::new(Inner { table: Mutex::new(table), changes: watch::Sender::new(0) }) }
    }

    /// Adds a stream; dropping the seat removes it.
    pub(crate) fn join(&self, subscriber: Subscriber) -> Seat {
        let number = self.change(|table| {
            table.next += 1;
            table.streams.insert(table.next, subscriber);
            table.next
        });
        Seat { number, all: self.clone() }
    }

    /// Notes that another state has been published: whoever used the one before is behind from now on.
    pub(crate) fn published(&self, generation: Generation) {
        let now = Instant::now();
        self.change(|table| {
            table.published = generation;
            for subscriber in table.streams.values_mut() {
                subscriber.judge(generation, now);
            }
        });
    }

    /// The subscribers at this moment.
    pub(crate) fn list(&self) -> Vec<Subscriber> {
        self.look(|table| table.streams.values().cloned().collect())
    }

    /// How far behind they are.
    pub(crate) fn lag(&self) -> Lag {
        let now = Instant::now();
        self.look(|table| {
            let behind = table.streams.values().filter_map(|it| it.behind_since);
            behind.fold(Lag::default(), |lag, since| Lag {
                behind: lag.behind + 1,
                longest: lag.longest.max(now.saturating_duration_since(since)),
            })
        })
    }

    /// A receiver that changes whenever the list does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn look<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.inner.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let changed = change(&mut self.inner.table.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
        changed
    }
}

impl Subscriber {
    /// Notes since when it has been behind.
    fn judge(&mut self, published: Generation, now: Instant) {
        let behind = self.generation.is_some_and(|generation| generation != published);
        self.behind_since = behind.then(|| self.behind_since.unwrap_or(now));
    }
}

/// The place of one stream in the list.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    all: Subscribers,
}

impl Seat {
    /// Notes what the process has said.
    pub(crate) fn update(&self, update: impl FnOnce(&mut Subscriber)) {
        let now = Instant::now();
        self.all.change(|table| {
            if let Some(subscriber) = table.streams.get_mut(&self.number) {
                update(subscriber);
                subscriber.judge(table.published, now);
            }
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.all.change(|table| table.streams.remove(&self.number));
    }
}

/// The id that a process names, if it is one.
pub(crate) fn instance(bytes: &[u8]) -> Option<Instance> {
    bytes.try_into().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn at(counter: u32) -> Generation {
        Generation { epoch: 7, counter }
    }

    pub(crate) fn subscriber(generation: Option<Generation>) -> Subscriber {
        Subscriber {
            spiffe_id: "spiffe://market.example/orders".parse().unwrap(),
            serial: "0a".to_owned(),
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
            addresses: Vec::new(),
            instance: None,
            generation,
            acknowledged_at: SystemTime::UNIX_EPOCH,
            connections_ended: 0,
            behind_since: None,
        }
    }

    #[test]
    fn who_uses_another_generation_is_behind_until_it_acknowledges_the_published_one() {
        let all = Subscribers::new(at(1));
        let (one, two) = (all.join(subscriber(Some(at(1)))), all.join(subscriber(Some(at(1)))));
        let _old = all.join(subscriber(None));
        assert_eq!(all.lag(), Lag::default());
        all.published(at(2));
        assert_eq!(all.lag().behind, 2);
        let longest = all.lag().longest;
        one.update(|it| it.generation = Some(at(2)));
        assert_eq!(all.lag().behind, 1);
        all.published(at(3));
        assert_eq!(all.lag().behind, 2);
        assert!(all.lag().longest >= longest, "the one that has been behind longest counts");
        drop(two);
        one.update(|it| it.generation = Some(at(3)));
        assert_eq!(all.lag(), Lag::default());
    }

    #[test]
    fn a_stream_that_ends_leaves_the_list_and_each_change_is_told() {
        let all = Subscribers::new(at(1));
        let mut changes = all.changes();
        let seat = all.join(subscriber(None));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(all.list().len(), 1);
        drop(seat);
        assert!(changes.has_changed().unwrap() && all.list().is_empty());
    }

    #[test]
    fn an_instance_has_sixteen_bytes() {
        assert_eq!(instance(&[3; 16]), Some([3; 16]));
        assert_eq!((instance(&[]), instance(&[3; 15]), instance(&[3; 17])), (None, None, None));
    }
}
