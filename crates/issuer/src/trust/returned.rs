//! Revocations that workloads return, because the store of a restored issuer does not know them.
//!
//! *Taken*: what this issuer made itself, as the proof shows, in an epoch before this one and after the last generation on
//! record, and what has neither ended nor been undone. Everything else is left: what is on record already is no news, what
//! was undone stays undone, and what carries no valid proof is forged.

use super::proof::Proofs;
use super::updates::Published;
use avouch_spiffe::trust_state::Changes;
use avouch_spiffe::{Generation, Revocation};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// The most revocations of one message, as the contract says.
pub(crate) const MAX_PER_MESSAGE: usize = 1_000;

/// The revocations of one message, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Returned {
    /// Those to be taken.
    pub(crate) genuine: Vec<Revocation>,
    /// The number of those without a valid proof.
    pub(crate) forged: usize,
}

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReturnedError {
    /// There are more than a message may have.
    #[error("{bytes} bytes of returned revocations, and a message may have {}", MAX_PER_MESSAGE * Revocation::BYTES)]
    TooMany {
        /// The bytes there are.
        bytes: usize,
    },
    /// They are no revocations.
    #[error("the returned revocations cannot be read: {0}")]
    Unreadable(#[from] avouch_spiffe::trust_state::RevocationError),
}

/// Sorts the revocations of a message.
pub(crate) fn examine(
    bytes: &[u8],
    published: &Published,
    proofs: &Proofs,
    now: SystemTime,
) -> Result<Returned, ReturnedError> {
    if bytes.len() > MAX_PER_MESSAGE * Revocation::BYTES {
        return Err(ReturnedError::TooMany { bytes: bytes.len() });
    }
    let (mut returned, mut seen) = (Returned::default(), BTreeSet::new());
    for revocation in Changes::decode(bytes, &[])?.added {
        // Before the proof: a thousand replicas return the same ones, and all but the first are answered by this.
        if !is_news(&revocation, published, now) || !seen.insert(revocation.key) {
            continue;
        }
        if proofs.verifies(&revocation) {
            returned.genuine.push(revocation);
        } else {
            returned.forged += 1;
        }
    }
    Ok(returned)
}

fn is_news(revocation: &Revocation, published: &Published, now: SystemTime) -> bool {
    published.may_be_lost(revocation.since)
        && revocation.ends_at > now
        && !published.undone.contains(&revocation.key)
        && published.state.revocations.get(&revocation.key).is_none()
}

impl Published {
    /// Whether a change of this generation may have been made without being on record: in an epoch before this one, after
    /// the last generation on record.
    pub(crate) fn may_be_lost(&self, since: Generation) -> bool {
        since > self.known && since.epoch < self.generation().epoch
    }
}

/// Counts the changes that a restored issuer has lost: of the generations that workloads acknowledge although they are not on
/// record, those that nobody has returned.
#[derive(Debug, Default)]
pub(crate) struct LostChanges {
    /// The last generation that a workload acknowledges and that is not on record.
    latest: Option<Generation>,
    /// The counters of returned revocations.
    returned: BTreeSet<u32>,
}

impl LostChanges {
    /// Notes a generation that is not on record. `true`: it is later than any before it.
    pub(crate) fn acknowledged(&mut self, generation: Generation) -> bool {
        let later = self.latest.is_none_or(|latest| generation > latest);
        if later {
            self.latest = Some(generation);
        }
        later
    }

    /// Notes revocations that have been taken back.
    pub(crate) fn returned(&mut self, revocations: &[Revocation]) {
        self.returned.extend(revocations.iter().map(|revocation| revocation.since.counter));
    }

    /// The number of changes that nobody has returned. Undone and ended revocations and changes of the bundle are among
    /// them, since they have counted too and nobody returns them.
    pub(crate) fn count(&self, known: Generation) -> u64 {
        let Some(latest) = self.latest.filter(|latest| latest.counter > known.counter) else { return 0 };
        let returned = self.returned.range(known.counter.saturating_add(1)..=latest.counter).count();
        let changes = u64::from(latest.counter - known.counter);
        changes.saturating_sub(u64::try_from(returned).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_spiffe::{Bundle, RevocationKey, Revocations, TrustState};
    use std::sync::Arc;
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + NOW
    }

    fn proofs() -> Proofs {
        Proofs::new(&[5; 32])
    }

    fn revocation(key: u8, epoch: u32, counter: u32) -> Revocation {
        let since = Generation { epoch, counter };
        proofs().revocation(RevocationKey([key; 16]), since, now() + Duration::from_secs(10))
    }

    /// An issuer in epoch 9 whose store ends with 7.5: it has revocation 1, and 2 was undone.
    fn published() -> Published {
        let state = TrustState {
            generation: Generation { epoch: 9, counter: 6 },
            revocations: Arc::new(Revocations::new([revocation(1, 7, 4)]).unwrap()),
            ..TrustState::default()
        };
        let bundle = Arc::new(Bundle::new("market.example".parse().unwrap(), Vec::new(), 1));
        let known = Generation { epoch: 7, counter: 5 };
        Published::first(state, bundle, known, vec![RevocationKey([2; 16])])
    }

    fn sorted(revocations: &[Revocation]) -> Returned {
        let bytes: Vec<u8> = revocations.iter().flat_map(Revocation::encode).collect();
        examine(&bytes, &published(), &proofs(), now()).unwrap()
    }

    #[test]
    fn what_the_store_has_lost_is_taken() {
        let lost = [revocation(3, 7, 6), revocation(4, 8, 7)];
        assert_eq!(sorted(&lost), Returned { genuine: lost.to_vec(), forged: 0 });
    }

    #[test]
    fn what_is_on_record_undone_ended_or_of_this_epoch_is_left() {
        let mut ended = revocation(3, 7, 6);
        ended = proofs().revocation(ended.key, ended.since, now());
        let left = [
            revocation(1, 7, 6),
            revocation(2, 7, 6),
            revocation(3, 7, 5),
            revocation(3, 6, 9),
            revocation(3, 9, 7),
            revocation(3, 10, 1),
            ended,
        ];
        assert_eq!(sorted(&left), Returned::default());
    }

    #[test]
    fn what_the_issuer_has_not_made_is_forged() {
        let genuine = revocation(3, 7, 6);
        let mut forged = revocation(4, 7, 6);
        forged.proof = genuine.proof;
        assert_eq!(sorted(&[genuine, forged]), Returned { genuine: vec![genuine], forged: 1 });
        let longer = Revocation { ends_at: genuine.ends_at + Duration::from_secs(1), ..genuine };
        assert_eq!(sorted(&[longer]).forged, 1);
    }

    #[test]
    fn a_message_that_is_damaged_or_too_long_is_refused_whole() {
        let examine = |bytes: &[u8]| examine(bytes, &published(), &proofs(), now());
        let one = revocation(3, 7, 6).encode();
        assert!(matches!(examine(&one[..47]), Err(ReturnedError::Unreadable(_))));
        assert!(matches!(examine(&one.repeat(1_001)), Err(ReturnedError::TooMany { bytes: 48_048 })));
        assert_eq!(examine(&one.repeat(1_000)).unwrap().genuine.len(), 1);
    }

    #[test]
    fn lost_changes_are_those_that_workloads_know_of_and_nobody_returns() {
        let known = Generation { epoch: 7, counter: 5 };
        let mut lost = LostChanges::default();
        assert_eq!(lost.count(known), 0);
        assert!(lost.acknowledged(Generation { epoch: 7, counter: 9 }));
        assert!(!lost.acknowledged(Generation { epoch: 7, counter: 8 }));
        assert_eq!(lost.count(known), 4);
        lost.returned(&[revocation(3, 7, 6), revocation(4, 7, 6), revocation(5, 7, 9)]);
        assert_eq!(lost.count(known), 2);
    }
}
