//! The backlog of a connection: what it has produced of answers and not handed to its socket yet.
//!
//! h2 holds up to `max_send_buffer_size` of each stream for a peer that has announced large windows and does not read:
//! on one connection megabytes, in pieces that are small each. So a stream's next piece waits while its connection has
//! much to send. Counted are the pieces of all its answers against what its socket has taken. What a socket takes beside
//! them (headers, pings) makes the difference too small; a complete flush, after which nothing waits but for the peer's
//! windows, begins the count anew.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The backlog at which streams wait: what a fast network takes in a few round trips. A unary answer never waits.
const MUCH: u64 = 256 * 1024;

/// The send backlog of one connection.
#[derive(Debug, Default)]
pub(super) struct SendBacklog {
    produced: AtomicU64,
    taken: AtomicU64,
    less: Notify,
}

impl SendBacklog {
    /// A piece of an answer was handed to the connection.
    pub(super) fn produced(&self, bytes: usize) {
        self.produced.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The socket took so much.
    pub(super) fn taken(&self, bytes: usize) {
        let was_much = self.is_much();
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
        self.tell(was_much);
    }

    /// The socket took all there was.
    pub(super) fn flushed(&self) {
        let was_much = self.is_much();
        // What is produced at this very moment is missed until the next flush: a piece for each thread.
        self.taken.store(self.produced.load(Ordering::Relaxed), Ordering::Relaxed);
        self.tell(was_much);
    }

    fn tell(&self, was_much: bool) {
        if was_much && !self.is_much() {
            self.less.notify_waiters();
        }
    }

    /// The bytes that wait for the socket.
    pub(super) fn bytes(&self) -> u64 {
        self.produced.load(Ordering::Relaxed).saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    /// Whether a stream is to wait.
    pub(super) fn is_much(&self) -> bool {
        self.bytes() > MUCH
    }

    /// Resolves when no stream has to wait.
    pub(super) async fn is_less(&self) {
        loop {
            let less = self.less.notified();
            tokio::pin!(less);
            // Before the look: what is taken in between still wakes us.
            less.as_mut().enable();
            if !self.is_much() {
                return;
            }
            less.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_while_much_is_unsent_and_goes_on_when_the_socket_has_taken_it() {
        let unsent = Arc::new(SendBacklog::default());
        unsent.produced(MUCH as usize);
        unsent.is_less().await;
        unsent.produced(1);
        let waiting = tokio::spawn({
            let unsent = unsent.clone();
            async move { unsent.is_less().await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert!(!waiting.is_finished() && unsent.is_much());
        unsent.taken(1);
        waiting.await.unwrap();
    }

    #[test]
    fn what_the_socket_takes_beside_answers_does_not_add_up() {
        let unsent = SendBacklog::default();
        for _ in 0..1_000 {
            unsent.produced(10);
            unsent.taken(100);
            unsent.flushed();
        }
        unsent.produced(MUCH as usize + 1);
        assert!(unsent.is_much());
        assert_eq!(unsent.bytes(), MUCH + 1);
    }
}
