//! How the peer of one connection behaves, and the end of the connection when it misbehaves.
//!
//! A call that the peer abandons costs the server the whole call and the peer two small frames (rapid reset); h2 bounds
//! only resets of streams that were not accepted yet. Counted here: calls that were abandoned before their answer was
//! complete and, of a peer without an identity, calls that were refused. A peer with an identity may abandon many as
//! long as it lets more of them finish, as a proxy does whose clients cancel; one without has a small number of both
//! for its whole connection. Answered calls cost one atomic addition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use avouch_spiffe::Reason;
use tokio_util::sync::CancellationToken;

use super::ServerOptions;

/// Over which time abandoned calls are compared with answered ones.
const WINDOW: Duration = Duration::from_secs(10);

/// Refused and abandoned calls of a connection without an identity. An honest one makes two calls.
const UNAUTHENTICATED_STRIKES: u64 = 16;

/// What a connection's calls, its socket and its driver share.
#[derive(Debug)]
pub(super) struct Conduct {
    /// Streams still open are to end with CONNECTION_RETIRING.
    pub(super) retiring: CancellationToken,
    cut: CancellationToken,
    cause: OnceLock<(Reason, String)>,
    rules: Rules,
    answered: AtomicU64,
    window: Mutex<Option<Window>>,
}

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

impl Conduct {
    pub(super) fn new(options: &ServerOptions, has_identity: bool) -> Self {
        let rules = if has_identity {
            Rules::WithIdentity { abandoned: u64::from(options.max_abandoned_calls) }
        } else {
            Rules::Unauthenticated
        };
        Self {
            retiring: CancellationToken::new(),
            cut: CancellationToken::new(),
            cause: OnceLock::new(),
            rules,
            answered: AtomicU64::new(0),
            window: Mutex::new(None),
        }
    }

    /// A call came to its end.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// The peer reset a call before its answer was complete.
    pub(super) fn abandoned(&self) {
        self.strike(Instant::now());
    }

    /// Whether [`Conduct::refused`] matters.
    pub(super) fn counts_refusals(&self) -> bool {
        matches!(self.rules, Rules::Unauthenticated)
    }

    /// A call was refused.
    pub(super) fn refused(&self) {
        if self.counts_refusals() {
            self.strike(Instant::now());
        }
    }

    fn strike(&self, now: Instant) {
        let answered = self.answered.load(Ordering::Relaxed);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window.get_or_insert(Window { since: now, strikes: 0, answered_before: answered });
        match self.rules {
            Rules::Unauthenticated => {
                window.strikes += 1;
                if window.strikes > UNAUTHENTICATED_STRIKES {
                    self.cut(
                        Reason::RateLimited,
                        format!(
                            "more than {UNAUTHENTICATED_STRIKES} calls of a connection without identity were \
                             refused or abandoned"
                        ),
                    );
                }
            }
            Rules::WithIdentity { abandoned } => {
                if now.duration_since(window.since) > WINDOW {
                    *window = Window { since: now, strikes: 0, answered_before: answered };
                }
                window.strikes += 1;
                let answered = answered.saturating_sub(window.answered_before);
                if window.strikes > abandoned && window.strikes > answered {
                    self.cut(
                        Reason::RateLimited,
                        format!("the peer abandoned {} calls and let {answered} finish", window.strikes),
                    );
                }
            }
        }
    }

    /// Ends the connection; the first cause is the one that is recorded.
    pub(super) fn cut(&self, reason: Reason, detail: impl Into<String>) {
        if self.cause.set((reason, detail.into())).is_ok() {
            self.cut.cancel();
        }
    }

    /// Resolves when the connection is to end.
    pub(super) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Why it was ended, if it was.
    pub(super) fn cause(&self) -> Option<&(Reason, String)> {
        self.cause.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conduct(has_identity: bool) -> Conduct {
        let options = ServerOptions { max_abandoned_calls: 100, ..ServerOptions::default() };
        Conduct::new(&options, has_identity)
    }

    fn is_cut(conduct: &Conduct) -> bool {
        conduct.cut.is_cancelled()
    }

    #[test]
    fn as_many_abandoned_calls_as_the_limit_are_borne_and_one_more_is_not() {
        let conduct = conduct(true);
        let now = Instant::now();
        for _ in 0..100 {
            conduct.strike(now);
        }
        assert!(!is_cut(&conduct));
        conduct.strike(now);
        assert!(is_cut(&conduct));
        assert_eq!(conduct.cause.get().unwrap().0, Reason::RateLimited);
    }

    #[test]
    fn who_lets_more_calls_finish_than_they_abandon_is_borne() {
        let conduct = conduct(true);
        let now = Instant::now();
        conduct.strike(now);
        for _ in 0..10_000 {
            conduct.answered();
            conduct.strike(now);
            conduct.answered();
        }
        assert!(!is_cut(&conduct));
    }

    #[test]
    fn what_was_answered_long_ago_excuses_nothing_and_what_was_abandoned_is_forgiven() {
        let conduct = conduct(true);
        let begin = Instant::now();
        for _ in 0..10_000 {
            conduct.answered();
        }
        for second in 0..30 {
            for _ in 0..9 {
                conduct.strike(begin + Duration::from_secs(second));
            }
        }
        assert!(!is_cut(&conduct));
        for _ in 0..101 {
            conduct.strike(begin + Duration::from_secs(100));
        }
        assert!(is_cut(&conduct));
    }

    #[test]
    fn refusals_count_for_those_without_an_identity_only() {
        let known = conduct(true);
        for _ in 0..1_000 {
            known.refused();
        }
        assert!(!is_cut(&known));
        let unknown = conduct(false);
        for _ in 0..UNAUTHENTICATED_STRIKES {
            unknown.refused();
            unknown.answered();
        }
        assert!(!is_cut(&unknown));
        unknown.refused();
        assert!(is_cut(&unknown));
    }
}
