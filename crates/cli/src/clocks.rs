//! How far a clock is from the issuer's.

use avouch_api::observe::v1::Status;
use avouch_time::duration::rounded;
use std::fmt;
use std::time::{Duration, SystemTime};

/// The offset of a clock from the issuer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockOffset {
    pub(crate) is_ahead: bool,
    pub(crate) amount: Duration,
}

impl ClockOffset {
    /// The offset of a clock that shows `this` while the issuer's shows `issuer`.
    pub(crate) fn between(this: SystemTime, issuer: SystemTime) -> Self {
        match this.duration_since(issuer) {
            Ok(amount) => Self { is_ahead: true, amount },
            Err(behind) => Self { is_ahead: false, amount: behind.duration() },
        }
    }

    /// The offset that a process measured on its trust stream.
    pub(crate) fn measured(status: &Status) -> Option<Self> {
        let millis = status.clock_ahead_millis;
        let amount = Duration::from_millis(millis.unsigned_abs());
        (!status.issuer_clock_at.is_empty()).then_some(Self { is_ahead: millis >= 0, amount })
    }
}

impl fmt::Display for ClockOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.is_ahead { "ahead of" } else { "behind" };
        match self.amount.as_secs() {
            0 => write!(f, "{} ms {side} the issuer's", self.amount.as_millis()),
            _ => write!(f, "{} {side} the issuer's", rounded(self.amount)),
        }
    }
}
