//! What one workload is to be sent next: decided by what it has acknowledged and by what is on its way to it.
//!
//! One update is on its way at a time. Changes that are published meanwhile wait for its acknowledgement and then travel as
//! one delta, so that a slow workload gets few messages, and each of them starts from what it holds.

use crate::trust::{Published, Update};
use avouch_api::issuer::v1::WatchTrustResponse;
use avouch_spiffe::Generation;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long a workload has to say in which way it speaks, before it gets bundles as workloads of the first version do. Every
/// workload says something as soon as it opens the stream.
const GREETING: Duration = Duration::from_secs(1);
/// How long an acknowledgement may take until the update is sent again; it doubles each time.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// The longest time until an update is sent again: a workload that cannot use one gets few.
const LONGEST_PATIENCE: Duration = Duration::from_secs(320);
/// The size from which on an update waits for its turn, so that few large ones are on their way at once.
const LARGE: usize = 16 * 1024;

/// The messages of its own that a workload may send for each one that it gets: it acknowledges, tells what it has ended since,
/// once more when that took longer, and where it can be reached now.
const ALLOWANCE: u32 = 4;

/// In which way a workload speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    /// It has not said anything yet.
    Unknown,
    /// In sequence numbers of bundles, as workloads of the first version do.
    Bundles {
        /// The sequence number of the last bundle it was sent.
        sent: Option<u64>,
    },
    /// In generations of the trust state.
    Generations {
        /// The generation that it acknowledged last.
        held: Generation,
    },
}

/// An update that has been sent and not been acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OnItsWay {
    base: Generation,
    to: Generation,
    overdue_at: Instant,
}

/// The next message to a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// None: it has everything, or an update is on its way to it.
    Nothing,
    /// The bundle, for a workload that knows no generations.
    Bundle,
    /// The changes since what it holds.
    Delta(Bytes),
    /// The whole state.
    Whole(Bytes),
}

impl Next {
    /// Whether the message waits for its turn.
    pub(super) fn is_large(&self) -> bool {
        matches!(self, Self::Delta(bytes) | Self::Whole(bytes) if bytes.len() > LARGE)
    }
}

/// What is known of one workload.
#[derive(Debug)]
pub(super) struct Follower {
    speech: Speech,
    greeting_until: Instant,
    on_its_way: Option<OnItsWay>,
    patience: Duration,
    allowance: u32,
}

impl Follower {
    /// A workload that has just opened its stream.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            speech: Speech::Unknown,
            greeting_until: now + GREETING,
            on_its_way: None,
            patience: FIRST_PATIENCE,
            allowance: ALLOWANCE,
        }
    }

    /// What it is to be sent, when this is published.
    pub(super) fn next(&self, published: &Published) -> Next {
        match self.speech {
            Speech::Unknown => Next::Nothing,
            Speech::Bundles { sent } if sent == Some(published.bundle.sequence()) => Next::Nothing,
            Speech::Bundles { .. } => Next::Bundle,
            Speech::Generations { .. } if self.on_its_way.is_some() => Next::Nothing,
            Speech::Generations { held } => match published.update_from(held) {
                Update::Nothing => Next::Nothing,
                Update::Delta(bytes) => Next::Delta(bytes),
                Update::Whole(bytes) => Next::Whole(bytes),
            },
        }
    }

    /// Notes that `next` is sent, and makes the message of it.
    pub(super) fn send(&mut self, next: Next, published: &Published, now: Instant) -> WatchTrustResponse {
        self.allowance = ALLOWANCE;
        let mut message = WatchTrustResponse::default();
        match next {
            Next::Nothing => {}
            Next::Bundle => {
                self.speech = Speech::Bundles { sent: Some(published.bundle.sequence()) };
                message.bundle = Some(crate::trust::bundle(&published.bundle));
            }
            Next::Delta(bytes) | Next::Whole(bytes) => {
                if let Speech::Generations { held } = self.speech {
                    let (to, overdue_at) = (published.generation(), now + self.patience);
                    self.on_its_way = Some(OnItsWay { base: held, to, overdue_at });
                }
                message.trust = bytes;
            }
        }
        message
    }

    /// Notes which generation it says that it uses; `None`: it knows none. `false`: the message counts as a call of its own,
    /// since it asks for another whole state, or since it is one more than what follows from an update.
    pub(super) fn acknowledged(&mut self, generation: Option<Generation>) -> bool {
        let expected = self.allowance > 0;
        self.allowance = self.allowance.saturating_sub(1);
        let Some(generation) = generation else {
            if !matches!(self.speech, Speech::Bundles { .. }) {
                self.speech = Speech::Bundles { sent: None };
            }
            return expected;
        };
        let falls_back = matches!(self.speech, Speech::Generations { held } if generation < held);
        self.speech = Speech::Generations { held: generation };
        self.answered(generation);
        expected && !falls_back
    }

    /// Notes whether `generation` answers the update that is on its way.
    fn answered(&mut self, generation: Generation) {
        match self.on_its_way {
            // Sent before the update arrived there, as when its addresses change; or it could not use a whole state, and gets
            // it again in a while.
            Some(update) if generation == update.base => {}
            Some(update) => {
                self.on_its_way = None;
                if generation == update.to {
                    self.patience = FIRST_PATIENCE;
                }
            }
            None => {}
        }
    }

    /// Whether an update is on its way that has not been acknowledged.
    pub(super) fn awaits_answer(&self) -> bool {
        self.on_its_way.is_some()
    }

    /// Notes that it will say nothing more.
    pub(super) fn falls_silent(&mut self) {
        if self.speech == Speech::Unknown {
            self.speech = Speech::Bundles { sent: None };
        }
    }

    /// The time from which on [`Follower::overdue`] changes something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.speech {
            Speech::Unknown => Some(self.greeting_until),
            _ => self.on_its_way.map(|update| update.overdue_at),
        }
    }

    /// Stops waiting for what should have come by its deadline.
    pub(super) fn overdue(&mut self) {
        self.falls_silent();
        if self.on_its_way.take().is_some() {
            self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_spiffe::{Bundle, BundleSet, TrustState};
    use std::sync::Arc;

    fn at(counter: u32) -> Generation {
        Generation { epoch: 7, counter }
    }

    fn bundle(sequence: u64) -> Arc<Bundle> {
        Arc::new(Bundle::new("market.example".parse().unwrap(), Vec::new(), sequence))
    }

    fn state(counter: u32, sequence: u64) -> TrustState {
        let bundles = BundleSet::from_iter([bundle(sequence)]);
        TrustState { generation: at(counter), bundles, ..TrustState::default() }
    }

    fn first() -> Published {
        Published::first(state(1, 1), bundle(1), Generation::NONE, Vec::new())
    }

    fn after(published: &Published, counter: u32) -> Published {
        published.next(state(counter, 1), bundle(1), Vec::new())
    }

    fn send(follower: &mut Follower, published: &Published) -> &'static str {
        let next = follower.next(published);
        let kind = match &next {
            Next::Nothing => return "nothing",
            Next::Bundle => "bundle",
            Next::Delta(_) => "delta",
            Next::Whole(_) => "whole",
        };
        let message = follower.send(next, published, Instant::now());
        assert_eq!(
            (message.bundle.is_some(), message.trust.is_empty()),
            (kind == "bundle", kind == "bundle")
        );
        kind
    }

    #[test]
    fn a_workload_of_the_first_version_gets_bundles_as_ever() {
        let published = first();
        let mut follower = Follower::new(Instant::now());
        assert_eq!(send(&mut follower, &published), "nothing");
        assert!(follower.acknowledged(None));
        assert_eq!(send(&mut follower, &published), "bundle");
        assert!(follower.acknowledged(None));
        assert_eq!(
            send(&mut follower, &after(&published, 2)),
            "nothing",
            "a revocation is no change of the bundle"
        );
        let newer = published.next(state(3, 2), bundle(2), Vec::new());
        assert_eq!(send(&mut follower, &newer), "bundle");
    }

    #[test]
    fn one_that_says_nothing_gets_bundles_in_a_while() {
        let now = Instant::now();
        let mut follower = Follower::new(now);
        assert_eq!(follower.deadline(), Some(now + GREETING));
        follower.overdue();
        assert_eq!((send(&mut follower, &first()), follower.deadline()), ("bundle", None));
        let mut silent = Follower::new(now);
        silent.falls_silent();
        assert_eq!(send(&mut silent, &first()), "bundle");
    }

    #[test]
    fn the_whole_state_first_then_deltas_and_one_for_many_changes() {
        let mut published = first();
        let mut follower = Follower::new(Instant::now());
        follower.acknowledged(Some(Generation::NONE));
        assert_eq!(send(&mut follower, &published), "whole");
        for counter in 2..9 {
            published = after(&published, counter);
            assert_eq!(send(&mut follower, &published), "nothing", "one update is on its way");
        }
        assert!(follower.acknowledged(Some(at(1))));
        assert_eq!(send(&mut follower, &published), "delta");
        assert!(follower.acknowledged(Some(at(8))));
        assert_eq!((send(&mut follower, &published), follower.deadline()), ("nothing", None));
    }

    #[test]
    fn what_crosses_an_update_does_not_answer_it() {
        let published = first();
        let mut follower = Follower::new(Instant::now());
        follower.acknowledged(Some(at(1)));
        let published = after(&published, 2);
        assert_eq!(send(&mut follower, &published), "delta");
        follower.acknowledged(Some(at(1)));
        assert_eq!(send(&mut follower, &published), "nothing");
        follower.acknowledged(Some(at(2)));
        assert!(!follower.awaits_answer());
    }

    #[test]
    fn a_few_messages_follow_from_an_update_and_more_of_them_count_as_calls() {
        let published = after(&first(), 2);
        let mut follower = Follower::new(Instant::now());
        assert!(follower.acknowledged(Some(at(1))));
        assert_eq!(send(&mut follower, &published), "delta");
        for _ in 0..ALLOWANCE {
            assert!(follower.acknowledged(Some(at(2))));
        }
        assert!(!follower.acknowledged(Some(at(2))));
    }

    #[test]
    fn whoever_asks_for_the_whole_state_again_and_again_makes_calls() {
        let published = first();
        let mut follower = Follower::new(Instant::now());
        follower.acknowledged(Some(Generation::NONE));
        for _ in 0..10 {
            assert_eq!(send(&mut follower, &published), "whole");
            assert!(follower.acknowledged(Some(at(1))));
            assert!(!follower.acknowledged(Some(Generation::NONE)), "it falls back");
        }
    }

    #[test]
    fn after_a_mismatch_the_whole_state_is_sent_at_once() {
        let published = after(&first(), 2);
        let mut follower = Follower::new(Instant::now());
        follower.acknowledged(Some(at(1)));
        assert_eq!(send(&mut follower, &published), "delta");
        assert!(!follower.acknowledged(Some(Generation::NONE)));
        assert_eq!(send(&mut follower, &published), "whole");
    }

    #[test]
    fn a_workload_that_cannot_use_the_whole_state_gets_it_again_ever_more_rarely() {
        let published = first();
        let mut follower = Follower::new(Instant::now());
        follower.acknowledged(Some(Generation::NONE));
        for patience in [10, 20, 40, 80, 160, 320, 320] {
            assert_eq!(follower.patience, Duration::from_secs(patience));
            assert_eq!(send(&mut follower, &published), "whole");
            follower.acknowledged(Some(Generation::NONE));
            assert_eq!(send(&mut follower, &published), "nothing");
            follower.overdue();
        }
        follower.acknowledged(Some(Generation::NONE));
        send(&mut follower, &published);
        assert!(follower.acknowledged(Some(at(1))));
        assert_eq!(follower.patience, FIRST_PATIENCE);
    }

    #[test]
    fn a_workload_that_was_updated_learns_generations_on_the_stream_that_is_open() {
        let mut follower = Follower::new(Instant::now());
        follower.overdue();
        assert_eq!(send(&mut follower, &first()), "bundle");
        follower.acknowledged(Some(Generation::NONE));
        assert_eq!(send(&mut follower, &first()), "whole");
    }
}
