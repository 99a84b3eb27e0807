//! The ids of denied calls, by which the caller's error finds the server's record.
//!
//! An id is a correlator, not a secret: it need not be unguessable, only never repeat.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The id of one denied call: `d-` and 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecisionId(u64);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d-{:016x}", self.0)
    }
}

/// A text that is not `d-` and sixteen hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decision's id: d- and sixteen hex digits")]
pub struct UnknownDecisionId;

impl FromStr for DecisionId {
    type Err = UnknownDecisionId;

    fn from_str(text: &str) -> Result<Self, UnknownDecisionId> {
        let number = text.strip_prefix("d-").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let id = number.map(Self).filter(|id| id.to_string() == text);
        id.ok_or(UnknownDecisionId)
    }
}

/// Makes decision ids; clones share one sequence.
#[derive(Clone, Debug)]
pub struct DecisionIds(Arc<AtomicU64>);

impl DecisionIds {
    /// A sequence with a random start, from the operating system.
    #[must_use]
    pub fn random() -> Self {
        Self::seeded(RandomState::new().hash_one("decision ids"))
    }

    /// A known sequence, for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// The next id. SplitMix64: a full period, so no id comes twice in one process.
    pub fn next(&self) -> DecisionId {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        DecisionId(z ^ (z >> 31))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_is_d_and_sixteen_hex_digits() {
        let text = DecisionIds::seeded(0).next().to_string();
        assert_eq!(text, "d-e220a8397b1dcdaf");
        assert_eq!(DecisionId(1).to_string(), "d-0000000000000001");
        assert_eq!(text.parse(), Ok(DecisionId(0xe220_a839_7b1d_cdaf)));
        for text in ["", "d-", "d-1", "conn-0000000000000001", "d-+000000000000001", "d-00000000000000AA"] {
            assert_eq!(text.parse::<DecisionId>(), Err(UnknownDecisionId), "{text}");
        }
    }

    #[test]
    fn ids_do_not_repeat_within_or_between_sequences() {
        let (a, b) = (DecisionIds::random(), DecisionIds::random());
        let ids: HashSet<_> = (0..1000).flat_map(|_| [a.next(), b.next(), a.clone().next()]).collect();
        assert_eq!(ids.len(), 3000);
    }
}
