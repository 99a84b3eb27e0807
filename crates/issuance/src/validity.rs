//! The validity period of a certificate, in whole seconds as X.509 has them.
//!
//! The beginning is put back by `min(backdate, life / 2)`, so that a peer whose clock is a little behind accepts the
//! certificate; the end never passes the end of the authority that signs.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// A validity period that cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidityError {
    /// The authority that would sign has expired, or expires within this second.
    #[error("the authority that would sign has expired")]
    AuthorityExpired,
    /// The authority that would sign is not valid yet.
    #[error("the authority that would sign is not valid yet")]
    AuthorityNotYetValid,
    /// The life is shorter than a second.
    #[error("the life is shorter than one second")]
    TooShort,
    /// A date that X.509 cannot express.
    #[error("the validity period is outside the dates that X.509 can express")]
    Unrepresentable,
}

/// A validity period; both ends are whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Validity {
    /// The period of a certificate made at `now`. `within` is the validity of the authority that signs.
    pub(crate) fn at(
        now: SystemTime,
        life: Duration,
        backdate: Duration,
        within: Option<Validity>,
    ) -> Result<Self, ValidityError> {
        if life < Duration::from_secs(1) {
            return Err(ValidityError::TooShort);
        }
        let mut end = now.checked_add(life).ok_or(ValidityError::Unrepresentable)?;
        if let Some(authority) = within {
            if now < authority.not_before {
                return Err(ValidityError::AuthorityNotYetValid);
            }
            end = end.min(authority.not_after);
        }
        let not_after = whole_seconds(end)?;
        let life = match not_after.duration_since(now) {
            Ok(life) if !life.is_zero() => life,
            _ if within.is_some() => return Err(ValidityError::AuthorityExpired),
            _ => return Err(ValidityError::TooShort),
        };
        let start = now.checked_sub(backdate.min(life / 2)).ok_or(ValidityError::Unrepresentable)?;
        Ok(Self { not_before: whole_seconds(start)?, not_after })
    }
}

fn whole_seconds(time: SystemTime) -> Result<SystemTime, ValidityError> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| ValidityError::Unrepresentable)?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

/// The time in the type that rcgen takes.
pub(crate) fn date(time: SystemTime) -> Result<OffsetDateTime, ValidityError> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| ValidityError::Unrepresentable)?;
    let seconds = i64::try_from(since.as_secs()).map_err(|_| ValidityError::Unrepresentable)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| ValidityError::Unrepresentable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn an_hour_is_backdated_by_thirty_seconds() {
        let validity = Validity::at(at(10_000.0), 3600 * S, 30 * S, None).unwrap();
        assert_eq!(validity, Validity { not_before: at(9970.0), not_after: at(13_600.0) });
    }

    #[test]
    fn a_short_life_is_backdated_by_half_of_it() {
        let validity = Validity::at(at(10_000.0), 20 * S, 30 * S, None).unwrap();
        assert_eq!(validity, Validity { not_before: at(9990.0), not_after: at(10_020.0) });
    }

    #[test]
    fn fractions_of_a_second_never_lengthen_the_life() {
        let validity = Validity::at(at(10_000.9), 20 * S, 30 * S, None).unwrap();
        assert_eq!(validity.not_after, at(10_020.0));
        assert!(validity.not_before <= at(10_000.9));
    }

    #[test]
    fn the_end_is_cut_at_the_end_of_the_authority_and_the_backdate_with_it() {
        let authority = Validity { not_before: at(0.0), not_after: at(10_010.0) };
        let validity = Validity::at(at(10_000.0), 3600 * S, 30 * S, Some(authority)).unwrap();
        assert_eq!(validity, Validity { not_before: at(9995.0), not_after: at(10_010.0) });
    }

    #[test]
    fn an_authority_that_is_over_or_not_begun_signs_nothing() {
        let authority = Validity { not_before: at(100.0), not_after: at(200.0) };
        for (now, expected) in [
            (at(99.9), ValidityError::AuthorityNotYetValid),
            (at(200.0), ValidityError::AuthorityExpired),
            (at(201.0), ValidityError::AuthorityExpired),
        ] {
            assert_eq!(Validity::at(now, 20 * S, S, Some(authority)), Err(expected));
        }
        assert!(Validity::at(at(199.5), 20 * S, S, Some(authority)).is_ok());
    }

    #[test]
    fn absurd_times_are_errors_and_no_panic() {
        assert_eq!(Validity::at(at(1.0), Duration::MAX, S, None), Err(ValidityError::Unrepresentable));
        assert_eq!(Validity::at(at(0.0), 20 * S, S, None), Err(ValidityError::Unrepresentable));
        assert_eq!(Validity::at(at(9.0), Duration::ZERO, S, None), Err(ValidityError::TooShort));
        assert_eq!(date(at(1e12)), Err(ValidityError::Unrepresentable));
    }
}
