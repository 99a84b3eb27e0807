//! The requests in progress on a connection of the health port, and whether the connection is overdue.
//!
//! Counted in requests, not in octets: a head that comes one octet at a time is no request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::limits::{ANSWER_TIME, HEAD_TIME, IDLE_TIME};

/// The requests of one connection; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    next: u64,
    under_way: usize,
    /// The start times of the requests whose answers have a deadline.
    answering: BTreeMap<u64, Instant>,
    /// The time until which the connection may stay open without a request in progress.
    quiet_until: Instant,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request came in time.
    Request,
    /// An answer could not be delivered in time.
    Answer,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    activity: Activity,
    number: u64,
}

impl Activity {
    /// The activity of a connection that begins now.
    pub(super) fn new() -> Self {
        let quiet_until = Instant::now() + HEAD_TIME;
        Self(Arc::new(Mutex::new(State { next: 0, under_way: 0, answering: BTreeMap::new(), quiet_until })))
    }

    /// Registers a request that begins now.
    pub(super) fn begin(&self) -> UnderWay {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.under_way += 1;
        state.answering.insert(number, Instant::now());
        UnderWay { activity: self.clone(), number }
    }

    /// Whether the connection is to end now.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let state = self.lock();
        let oldest = state.answering.first_key_value().map(|(_, began)| *began);
        if oldest.is_some_and(|began| began + ANSWER_TIME <= now) {
            return Some(Overdue::Answer);
        }
        (state.under_way == 0 && state.quiet_until <= now).then_some(Overdue::Request)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Exempts the answer from the deadline: it is a stream.
    pub(super) fn may_last(&self) {
        self.activity.lock().answering.remove(&self.number);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.answering.remove(&self.number);
        state.under_way -= 1;
        state.quiet_until = Instant::now() + IDLE_TIME;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn overdue(activity: &Activity) -> Option<Overdue> {
        activity.overdue(Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_ends_after_the_time_of_a_head() {
        let activity = Activity::new();
        advance(HEAD_TIME - Duration::from_millis(1)).await;
        assert_eq!(overdue(&activity), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(overdue(&activity), Some(Overdue::Request));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_the_idle_time_counts_from_the_end_of_the_last() {
        let activity = Activity::new();
        let (one, other) = (activity.begin(), activity.begin());
        advance(ANSWER_TIME / 2).await;
        drop(one);
        advance(ANSWER_TIME / 3).await;
        drop(other);
        advance(IDLE_TIME - Duration::from_millis(1)).await;
        assert_eq!(overdue(&activity), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(overdue(&activity), Some(Overdue::Request));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_its_connection_whatever_else_is_under_way() {
        let activity = Activity::new();
        let watch = activity.begin();
        watch.may_last();
        let slow = activity.begin();
        advance(ANSWER_TIME / 2).await;
        let quick = activity.begin();
        drop(quick);
        advance(ANSWER_TIME / 2).await;
        assert_eq!(overdue(&activity), Some(Overdue::Answer));
        drop(slow);
        assert_eq!(overdue(&activity), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_may_last_keeps_its_connection_open_and_no_longer() {
        let activity = Activity::new();
        let watch = activity.begin();
        watch.may_last();
        advance(Duration::from_secs(24 * 3600)).await;
        assert_eq!(overdue(&activity), None);
        drop(watch);
        advance(IDLE_TIME).await;
        assert_eq!(overdue(&activity), Some(Overdue::Request));
    }
}
