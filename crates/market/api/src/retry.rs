//! When to try a call again, and how long to wait before it.
//!
//! Only for calls that are idempotent on the server: when a response is lost, the request may have been carried out.

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

/// Delays that double from `base` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay before the second attempt.
    pub base: Duration,
    /// The longest delay.
    pub max: Duration,
}

impl Backoff {
    /// The delay after `failures` failed attempts in a row (1 after the first): between half and all of the doubled time.
    ///
    /// The jitter is a hash of `key` and `failures`, so that callers that failed at the same time do not retry at the
    /// same time.
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
