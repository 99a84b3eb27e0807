//! The `grpc-timeout` header: a deadline exactly when it is one by the gRPC protocol, never beyond a year, and the same
//! again after it was written.

use std::time::Duration;

use avouch_identity::deadline;
use http::{HeaderMap, HeaderValue};

use super::Outcome;

pub(super) const WORDS: &[&str] =
    &["H", "M", "S", "m", "u", "n", "0", "1", "99999999", "100000000", "-", "+", " ", ".", "e", "８"];

const YEAR: u128 = 365 * 86_400 * 1_000_000_000;

pub(super) fn run(data: &[u8]) -> Outcome {
    let Ok(value) = HeaderValue::from_bytes(data) else { return Outcome::Refused };
    let read = read(value);
    assert_eq!(read.map(|timeout| timeout.as_nanos()), expected(data), "{data:?}");
    let Some(timeout) = read else { return Outcome::Refused };
    let again = self::read(deadline::header_value(timeout));
    // Eight digits of the finest unit that holds it: up to one unit may be lost, and never gained.
    assert!(
        again.is_some_and(|again| again <= timeout && timeout - again < Duration::from_secs(1)),
        "{timeout:?}"
    );
    Outcome::Accepted
}

fn read(value: HeaderValue) -> Option<Duration> {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-timeout", value);
    deadline::from_headers(&headers)
}

/// Nanoseconds, by the protocol: `TimeoutValue TimeoutUnit`, one to eight digits.
fn expected(data: &[u8]) -> Option<u128> {
    let (unit, digits) = data.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |amount, digit| amount * 10 + u128::from(digit - b'0'));
    let nanoseconds = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    Some((amount * nanoseconds).min(YEAR))
}
