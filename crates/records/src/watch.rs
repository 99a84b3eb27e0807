//! Those who follow records as they come: each with its own filter and its own bounded queue.
//!
//! A watcher too slow to read misses some and is told how many; nobody waits for it.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::entry::Entry;
use crate::filter::Matcher;

/// Records that wait for one watcher: as many as can come in at once.
pub(crate) const WAITING: usize = 4096;

/// A record, and how many were missed before it.
pub(crate) type Seen = (Entry, u64);

/// The collector's end.
#[derive(Debug)]
struct Watcher {
    matcher: Matcher,
    sender: mpsc::Sender<Seen>,
    missed: u64,
}

/// All watchers.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Vec<Watcher>);

impl Watchers {
    pub(crate) fn add(&mut self, matcher: Matcher) -> mpsc::Receiver<Seen> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.0.push(Watcher { matcher, sender, missed: 0 });
        receiver
    }

    /// Whether somebody wants allowed calls too; forgets those who have gone.
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
                // Forgotten at the next collection.
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }
}
