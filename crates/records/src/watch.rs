//! Watchers of records as they come: each with its own filter and its own bounded queue.
//!
//! A watcher that reads too slowly misses records and is told how many; nothing waits for it.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::entry::Entry;
use crate::filter::Matcher;

/// The most records that wait for one watcher: as many as one collection brings.
pub(crate) const WAITING: usize = 4096;

/// A record, and the number of records that were missed before it.
pub(crate) type WatchedRecord = (Entry, u64);

/// The collector's side of a watcher.
#[derive(Debug)]
struct Watcher {
    matcher: Matcher,
    sender: mpsc::Sender<WatchedRecord>,
    missed: u64,
}

/// All watchers.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Vec<Watcher>);

impl Watchers {
    pub(crate) fn add(&mut self, matcher: Matcher) -> mpsc::Receiver<WatchedRecord> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.0.push(Watcher { matcher, sender, missed: 0 });
        receiver
    }

    /// Whether a watcher wants allowed calls too; removes watchers that have gone.
    pub(crate) fn want_allowed(&mut self) -> bool {
        self.0.retain(|watcher| !watcher.sender.is_closed());
        self.0.iter().any(|watcher| watcher.matcher.wants_allowed())
    }

    pub(crate) fn tell(&mut self, entry: &Entry) {
        for watcher in &mut self.0 {
            if !watcher.matcher.matches(entry) {
                continue;
            }
            match watcher.sender.try_send((entry.clone(), watcher.missed)) {
                Ok(()) => watcher.missed = 0,
                Err(TrySendError::Full(_)) => watcher.missed += 1,
                // Removed at the next collection.
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }
}
