//! The trust state of a process: whom it trusts and whom no longer, as one value.
//!
//! A [`TrustState`] holds the bundle of the own trust domain, the bundles of federated ones, and the revocations, under one
//! [`Generation`]. The issuer publishes it, sources of identities carry it, and every verifier asks it: see ADR 10.

mod generation;
mod revocation;
mod revocations;

use std::sync::Arc;

pub use generation::Generation;
pub use revocation::{Revocation, RevocationKey, RevokedKind};
pub use revocations::{Changes, MAX_REVOCATIONS, RevocationError, Revocations};

use crate::bundle::{Bundle, BundleSet};

/// Whom a process trusts, and whom no longer. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustState {
    /// The number of this state at its issuer; [`Generation::NONE`] where it comes from no issuer.
    pub generation: Generation,
    /// The bundles: the own trust domain's, and those of federated ones.
    pub bundles: BundleSet,
    /// Whoever and whatever has been revoked and has not ended by itself.
    pub revocations: Arc<Revocations>,
}

impl TrustState {
    /// What must change in `older` to become this state.
    #[must_use]
    pub fn diff(&self, older: &Self) -> TrustDiff {
        let changed = |bundle: &&Arc<Bundle>| older.bundles.get(bundle.trust_domain()) != Some(*bundle);
        let gone = |bundle: &&Arc<Bundle>| self.bundles.get(bundle.trust_domain()).is_none();
        TrustDiff {
            bundles: self.bundles.iter().filter(changed).cloned().collect(),
            bundles_gone: older.bundles.iter().filter(gone).cloned().collect(),
            revocations: self.revocations.diff(&older.revocations),
        }
    }
}

impl From<BundleSet> for TrustState {
    /// A state without revocations, of no issuer's generation.
    fn from(bundles: BundleSet) -> Self {
        Self { bundles, ..Self::default() }
    }
}

/// The difference between two trust states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustDiff {
    /// The bundles that are new, or have another content.
    pub bundles: BundleSet,
    /// The bundles that are no longer there.
    pub bundles_gone: BundleSet,
    /// The revocations that have come and gone.
    pub revocations: Changes,
}

impl TrustDiff {
    /// Whether the two states say the same, whatever their generations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bundles.is_empty() && self.bundles_gone.is_empty() && self.revocations.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn bundle(sequence: u64) -> Bundle {
        Bundle::new("market.example".parse().unwrap(), Vec::new(), sequence)
    }

    #[test]
    fn a_diff_names_what_changed_and_nothing_else() {
        let older = TrustState::from(BundleSet::from_iter([bundle(1)]));
        assert!(older.diff(&older).is_empty());
        let key = RevocationKey::identity(&"spiffe://market.example/orders".parse().unwrap());
        let since = Generation { epoch: 7, counter: 1 };
        let revocation = Revocation { key, since, ends_at: SystemTime::UNIX_EPOCH, proof: [0; 16] };
        let newer = TrustState {
            generation: since,
            bundles: BundleSet::from_iter([bundle(2)]),
            revocations: Arc::new(Revocations::new([revocation]).unwrap()),
        };
        let diff = newer.diff(&older);
        assert_eq!((diff.bundles.len(), diff.bundles_gone.len()), (1, 0));
        assert_eq!(diff.revocations.added, [revocation]);
        assert_eq!(older.diff(&newer).revocations.removed, [key]);
        assert_eq!(TrustState::default().diff(&older).bundles_gone.len(), 1);
    }
}
