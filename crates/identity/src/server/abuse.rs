//! Detection of abuse by the peer of one connection.
//!
//! A call that the peer abandons costs the server the whole call and the peer two small frames (rapid reset); h2 bounds
//! only resets of streams that were not accepted yet. Counted here: calls that were abandoned before their answer was
//! complete and, of a peer without an identity, calls that were denied. A peer with an identity may abandon many as
//! long as it lets more of them finish, as a proxy does whose clients cancel; one without has a small number of both
//! for its whole connection. Answered calls cost one atomic addition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::options::ServerOptions;

/// The time over which abandoned calls are compared with answered ones.
const WINDOW: Duration = Duration::from_secs(10);

/// The denied and abandoned calls that a connection without an identity may have. A workload that enrols or recovers
/// makes two calls.
const UNAUTHENTICATED_STRIKES: u64 = 16;

/// The counts of one connection's calls: answered, abandoned and denied.
#[derive(Debug)]
pub(super) struct AbuseGuard {
    rules: Rules,
    answered: AtomicU64,
    window: Mutex<Option<Window>>,
}

/// The abuse that ends a connection, in words.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Abuse(pub(super) String);

#[derive(Clone, Copy, Debug)]
enum Rules {
    WithIdentity { abandoned: u64 },
    Unauthenticated,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    strikes: u64,
    answered_before: u64,
}

impl AbuseGuard {
    pub(super) fn new(options: &ServerOptions, has_identity: bool) -> Self {
        let rules = if has_identity {
            Rules::WithIdentity { abandoned: u64::from(options.max_cancelled_calls) }
        } else {
            Rules::Unauthenticated
        };
        Self { rules, answered: AtomicU64::new(0), window: Mutex::new(None) }
    }

    /// Counts a call whose answer was complete.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that the peer reset before its answer was complete.
    pub(super) fn abandoned(&self) -> Result<(), Abuse> {
        self.strike(Instant::now())
    }

    /// Whether [`AbuseGuard::denied`] matters.
    pub(super) fn counts_denials(&self) -> bool {
        matches!(self.rules, Rules::Unauthenticated)
    }

    /// Counts a call that was denied.
    pub(super) fn denied(&self) -> Result<(), Abuse> {
        if self.counts_denials() { self.strike(Instant::now()) } else { Ok(()) }
    }

    fn strike(&self, now: Instant) -> Result<(), Abuse> {
        let answered = self.answered.load(Ordering::Relaxed);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window.get_or_insert(Window { since: now, strikes: 0, answered_before: answered });
        match self.rules {
            Rules::Unauthenticated => {
                window.strikes += 1;
                if window.strikes > UNAUTHENTICATED_STRIKES {
                    return Err(Abuse(format!(
                        "more than {UNAUTHENTICATED_STRIKES} calls of a connection without identity were refused or \
                         abandoned"
                    )));
                }
            }
            Rules::WithIdentity { abandoned } => {
                if now.duration_since(window.since) > WINDOW {
                    *window = Window { since: now, strikes: 0, answered_before: answered };
                }
                window.strikes += 1;
                let answered = answered.saturating_sub(window.answered_before);
                if window.strikes > abandoned && window.strikes > answered {
                    let abandoned = window.strikes;
                    return Err(Abuse(format!(
                        "the peer abandoned {abandoned} calls and let {answered} finish"
                    )));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(has_identity: bool) -> AbuseGuard {
        let options = ServerOptions { max_cancelled_calls: 100, ..ServerOptions::default() };
        AbuseGuard::new(&options, has_identity)
    }

    #[test]
    fn as_many_abandoned_calls_as_the_limit_are_borne_and_one_more_is_not() {
        let guard = guard(true);
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(guard.strike(now), Ok(()));
        }
        let Abuse(words) = guard.strike(now).unwrap_err();
        assert_eq!(words, "the peer abandoned 101 calls and let 0 finish");
    }

    #[test]
    fn who_lets_more_calls_finish_than_they_abandon_is_borne() {
        let guard = guard(true);
        let now = Instant::now();
        assert_eq!(guard.strike(now), Ok(()));
        for _ in 0..10_000 {
            guard.answered();
            assert_eq!(guard.strike(now), Ok(()));
            guard.answered();
        }
    }

    #[test]
    fn what_was_answered_long_ago_excuses_nothing_and_what_was_abandoned_is_forgiven() {
        let guard = guard(true);
        let begin = Instant::now();
        for _ in 0..10_000 {
            guard.answered();
        }
        for second in 0..30 {
            for _ in 0..9 {
                assert_eq!(guard.strike(begin + Duration::from_secs(second)), Ok(()));
            }
        }
        let late = begin + Duration::from_secs(100);
        assert!((0..101).map(|_| guard.strike(late)).any(|outcome| outcome.is_err()));
    }

    #[test]
    fn refusals_count_for_those_without_an_identity_only() {
        let known = guard(true);
        for _ in 0..1_000 {
            assert_eq!(known.denied(), Ok(()));
        }
        let unknown = guard(false);
        for _ in 0..UNAUTHENTICATED_STRIKES {
            assert_eq!(unknown.denied(), Ok(()));
            unknown.answered();
        }
        assert!(unknown.denied().is_err());
    }
}
