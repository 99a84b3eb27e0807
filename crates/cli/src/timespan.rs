//! Spans of time as people type and read them: `20s`, `10m`, `1h30m`, `in 53m`, `3d ago`.

use std::time::SystemTime;

pub(crate) use avouch_records::text::parse_time as parse_rfc3339;
pub(crate) use avouch_spiffe::span::{display, parse};

/// `in 53m` or `3d ago`.
pub(crate) fn relative(at: SystemTime, now: SystemTime) -> String {
    match at.duration_since(now) {
        Ok(ahead) => format!("in {}", display(ahead)),
        Err(behind) => format!("{} ago", display(behind.duration())),
    }
}

/// `2026-11-22T17:00:00Z`.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let at = time::OffsetDateTime::from(at).replace_nanosecond(0);
    at.ok()
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| "beyond the year 9999".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_read_relative_to_now_and_as_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(relative(now + Duration::from_secs(20), now), "in 20s");
        assert_eq!(relative(now - Duration::from_secs(61), now), "1m1s ago");
        assert_eq!(rfc3339(now), "2027-01-15T08:00:00Z");
        assert_eq!(parse_rfc3339("2027-01-15T08:00:00Z"), Some(now));
        assert_eq!(parse_rfc3339("2027-01-15T09:00:00.250+01:00"), Some(now + Duration::from_millis(250)));
        for nonsense in ["", "yesterday", "2027-01-15", "2027-13-15T08:00:00Z"] {
            assert_eq!(parse_rfc3339(nonsense), None, "{nonsense}");
        }
    }
}
