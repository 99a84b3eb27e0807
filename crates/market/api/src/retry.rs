//! When to try a call again, and how long to wait before it.
//!
//! Only for calls that are idempotent at the other end: an answer that was lost may stand for work that was done.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tonic::{Code, Status};

/// Whether the same request may succeed later without anybody changing it.
#[must_use]
pub fn is_retryable(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
    )
}

/// Waiting times that double from `base` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second attempt.
    pub base: Duration,
    /// Never more than this.
    pub max: Duration,
}

impl Backoff {
    /// How long to wait after `failures` failed attempts in a row (1 after the first).
    ///
    /// Between half and all of the doubled time. Where in that range is a hash of `key` and `failures`, so that those who
    /// failed together do not come back together.
    #[must_use]
    pub fn delay(&self, failures: u32, key: &str) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let full = self.base.saturating_mul(factor).min(self.max);
        let mut hasher = DefaultHasher::new();
        (key, failures).hash(&mut hasher);
        let thousandth = u32::try_from(hasher.finish() % 1000).unwrap_or(0);
        full / 2 + full.saturating_mul(thousandth) / 2000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(5) };

    #[test]
    fn waiting_times_double_up_to_the_limit() {
        for failures in 1..200 {
            let full = BACKOFF
                .base
                .saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX))
                .min(BACKOFF.max);
            let delay = BACKOFF.delay(failures, "ord-1");
            assert!(delay >= full / 2 && delay <= full, "{failures}: {delay:?}");
        }
    }

    #[test]
    fn those_who_failed_together_come_back_apart() {
        let delays: std::collections::BTreeSet<_> =
            (0..50).map(|n| BACKOFF.delay(3, &format!("ord-{n}"))).collect();
        assert!(delays.len() > 25, "{}", delays.len());
    }

    #[test]
    fn refusals_are_not_retried() {
        for code in [
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::InvalidArgument,
            Code::AlreadyExists,
            Code::FailedPrecondition,
            Code::NotFound,
            Code::Internal,
            Code::Unimplemented,
        ] {
            assert!(!is_retryable(&Status::new(code, "")), "{code:?}");
        }
        assert!(is_retryable(&Status::unavailable("")));
    }
}
