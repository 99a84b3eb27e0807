//! The dates of a certificate, and how long a connection that was made with it is used.

use std::time::{Duration, SystemTime};

/// The validity period of a certificate, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Validity {
    /// The time that is left of it by the wall clock.
    pub(crate) fn left(self, wall: SystemTime) -> Duration {
        self.not_after.duration_since(wall).unwrap_or_default()
    }

    /// The time for which a connection made with it is used: until `margins` times the retirement margin before its end,
    /// and near the end half of what is left, so that no peer reconnects in a loop.
    pub(crate) fn use_for(self, wall: SystemTime, margins: f64) -> Duration {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        let left = self.left(wall);
        left.saturating_sub(retirement_margin(life).mul_f64(margins)).max(left / 2)
    }
}

/// How long before the end of a certificate's life its connections retire: a tenth of the life, between two and thirty
/// seconds. Clients use one and a half times this, so that they replace a connection before the server retires it.
fn retirement_margin(life: Duration) -> Duration {
    (life / 10).clamp(Duration::from_secs(2), Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_before_the_end_and_near_the_end_half_of_what_is_left() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let validity = Validity { not_before: at(1_000), not_after: at(1_100) };
        // A tenth of its life is the margin.
        for (now, margins, seconds) in
            [(1_000, 1.0, 90.0), (1_000, 1.5, 85.0), (1_090, 1.0, 5.0), (1_100, 1.0, 0.0), (2_000, 1.0, 0.0)]
        {
            assert_eq!(
                validity.use_for(at(now), margins),
                Duration::from_secs_f64(seconds),
                "{now} {margins}"
            );
        }
    }
}
