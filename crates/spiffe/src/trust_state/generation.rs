//! The number of a trust state at its issuer.

use std::fmt;

/// The number of a trust state: later ones are greater.
///
/// The counter grows with every change. The epoch grows with every start of the issuer, by the clock: an issuer that is
/// restored from a backup repeats counters, and its states are believed all the same, because they are of a later epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// The start of the issuer: seconds since the Unix epoch, or one more than the epoch before.
    pub epoch: u32,
    /// The number of changes on record.
    pub counter: u32,
}

impl Generation {
    /// The generation of a state that comes from no issuer; every other one is greater.
    pub const NONE: Self = Self { epoch: 0, counter: 0 };
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_epoch_is_greater_whatever_its_counter() {
        let at = |epoch, counter| Generation { epoch, counter };
        assert!(at(2, 1) > at(1, 9) && at(1, 9) > at(1, 8) && at(0, 1) > Generation::NONE);
        assert_eq!(at(1_764_547_200, 3).to_string(), "1764547200.3");
    }
}
