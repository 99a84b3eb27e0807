//! The value of `grpc-timeout`: how long a caller waits for the answer to its call.
//!
//! Specification: gRPC over HTTP/2, "Requests": at most eight digits and a unit.

use std::time::Duration;

/// The longest value, in octets.
const LONGEST: usize = 8 + 1;

/// Parses a value; `None` when it is malformed. Each call is read by it: it takes octets, and allocates nothing.
#[must_use]
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || value.len() > LONGEST {
        return None;
    }
    let amount = digits.iter().try_fold(0, |amount: u64, octet| {
        octet.is_ascii_digit().then(|| amount * 10 + u64::from(octet - b'0'))
    })?;
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (value, timeout) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("010S", Duration::from_secs(10)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(value.as_bytes()), Some(timeout), "{value}");
        }
    }

    #[test]
    fn what_is_no_timeout_is_refused() {
        for value in ["", "S", "10", "10x", "10s", "-1S", "+1S", "123456789S", "1 S", "１S", "1.5S", " 1S"] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
    }
}
