//! Deadlines: read from `grpc-timeout`, inherited by the calls a handler makes, written back on the wire.
//!
//! The deadline of the call being served is a task-local; a channel applies the nearer of it and its own default.
//! Work that a handler spawns does not inherit it unless [`scope`] is used.

use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use avouch_time::grpc_timeout;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// The header of the gRPC wire protocol, parsed once: each call looks for it.
pub(crate) static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

tokio::task_local! {
    static DEADLINE: Instant;
}

/// The deadline of the call being served by the current task.
pub fn current() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

/// Runs `future` under `deadline`: calls it makes inherit it.
pub fn scope<F: Future>(deadline: Instant, future: F) -> impl Future<Output = F::Output> {
    DEADLINE.scope(deadline, future)
}

pub(crate) type Scoped<F> = tokio::task::futures::TaskLocalFuture<Instant, F>;

pub(crate) fn scoped<F: Future>(deadline: Instant, future: F) -> Scoped<F> {
    DEADLINE.scope(deadline, future)
}

/// The longest timeout honoured: `Instant + Duration` panics where the sum overflows.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The timeout in `grpc-timeout`, at most a year. A malformed value is no deadline.
#[must_use]
pub fn from_headers(headers: &HeaderMap) -> Option<Duration> {
    let timeout = grpc_timeout::parse(headers.get(&GRPC_TIMEOUT)?.as_bytes())?;
    Some(timeout.min(LONGEST))
}

/// Writes a duration as a `grpc-timeout` value, in the finest unit that fits eight digits.
#[must_use]
pub fn header_value(timeout: Duration) -> HeaderValue {
    const LIMIT: u128 = 99_999_999;
    let mut text = String::with_capacity(10);
    let (amount, unit) = match timeout {
        t if t.as_nanos() <= LIMIT => (t.as_nanos(), 'n'),
        t if t.as_micros() <= LIMIT => (t.as_micros(), 'u'),
        t if t.as_millis() <= LIMIT => (t.as_millis(), 'm'),
        t => (u128::from(t.as_secs()).min(LIMIT), 'S'),
    };
    // Writing to a String cannot fail, and the text is digits and a letter.
    let _ = write!(text, "{amount}{unit}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("99999999S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(&GRPC_TIMEOUT, HeaderValue::from_str(value).expect("a header value"));
        from_headers(&headers)
    }

    #[test]
    fn a_timeout_survives_the_wire() {
        for timeout in [
            Duration::from_nanos(1),
            Duration::from_micros(250),
            Duration::from_millis(200),
            Duration::from_secs(10),
            Duration::from_secs(90_000),
        ] {
            let written = header_value(timeout);
            assert_eq!(parse(written.to_str().expect("ascii")), Some(timeout));
        }
    }

    #[test]
    fn a_malformed_timeout_is_no_deadline_and_a_long_one_is_a_year() {
        assert_eq!(parse("10x"), None);
        assert_eq!(parse("99999999H"), Some(LONGEST));
        assert_eq!(from_headers(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_scope_is_visible_inside_and_gone_outside() {
        let deadline = Instant::now() + Duration::from_secs(1);
        assert_eq!(scope(deadline, async { current() }).await, Some(deadline));
        assert_eq!(current(), None);
    }
}
