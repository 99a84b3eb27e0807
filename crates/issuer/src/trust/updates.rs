//! The published trust state, and the updates that bring a workload to it.
//!
//! A workload that holds nothing, or a state that is not in the log, gets a whole update; one that holds a logged state gets
//! a single delta, however many changes lie between. Each update is encoded once and shared by all who need the same one:
//! a thousand workloads that acknowledged one generation share one encoding.

use avouch_api::issuer::v1 as issuer;
use avouch_spiffe::trust_state::TrustDiff;
use avouch_spiffe::{Bundle, Generation, Revocation, RevocationKey, TrustDomain, TrustState};
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

/// The most publications that the log goes back.
const MAX_STEPS: usize = 1_024;
/// The most changes in the log: 10,000 revocations and their ends. A delta of more is hardly smaller than a whole update.
const MAX_CHANGES: usize = 20_000;
/// The most bytes of encoded deltas that are kept; beyond it they are forgotten, and encoded again where they are needed.
const MAX_CACHED: usize = 16 * 1024 * 1024;

/// What a workload needs to reach the published state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Update {
    /// Nothing: it holds the published state.
    Nothing,
    /// The changes since the state that it holds.
    Delta(Bytes),
    /// The whole state.
    Whole(Bytes),
}

/// One published state.
#[derive(Debug)]
pub(crate) struct Published {
    /// The state.
    pub(crate) state: TrustState,
    /// The bundle of the own trust domain.
    pub(crate) bundle: Arc<Bundle>,
    /// The last generation on record when the epoch began.
    pub(crate) known: Generation,
    /// The keys that were undone and have not ended: workloads must not keep them across an epoch.
    pub(crate) undone: Arc<[RevocationKey]>,
    /// The first end of a revocation in force.
    pub(crate) next_end: Option<SystemTime>,
    /// The publications before this one, the latest last.
    log: VecDeque<Arc<Step>>,
    digest: [u8; 32],
    whole: OnceLock<Bytes>,
    deltas: Mutex<Deltas>,
}

/// One publication: what it changed.
#[derive(Debug)]
struct Step {
    before: Generation,
    diff: TrustDiff,
}

impl Step {
    fn changes(&self) -> usize {
        self.diff.revocations.added.len() + self.diff.revocations.removed.len()
    }
}

/// The encoded deltas, by the generation that they start from.
#[derive(Debug, Default)]
struct Deltas {
    by_base: HashMap<Generation, Bytes>,
    bytes: usize,
}

impl Published {
    /// The first state of an epoch.
    pub(crate) fn first(
        state: TrustState,
        bundle: Arc<Bundle>,
        known: Generation,
        undone: Vec<RevocationKey>,
    ) -> Self {
        Self {
            next_end: state.revocations.iter().map(|revocation| revocation.ends_at).min(),
            digest: state.revocations.digest(),
            state,
            bundle,
            known,
            undone: undone.into(),
            log: VecDeque::new(),
            whole: OnceLock::new(),
            deltas: Mutex::default(),
        }
    }

    /// The state that follows this one.
    pub(crate) fn next(&self, state: TrustState, bundle: Arc<Bundle>, undone: Vec<RevocationKey>) -> Self {
        let step = Step { before: self.state.generation, diff: state.diff(&self.state) };
        let mut log = self.log.clone();
        log.push_back(Arc::new(step));
        let mut changes: usize = log.iter().map(|step| step.changes()).sum();
        while log.len() > MAX_STEPS || changes > MAX_CHANGES {
            changes -= log.pop_front().map_or(0, |oldest| oldest.changes());
        }
        Self { log, ..Self::first(state, bundle, self.known, undone) }
    }

    /// The generation.
    pub(crate) fn generation(&self) -> Generation {
        self.state.generation
    }

    /// What brings a workload here that holds the state of `held`.
    pub(crate) fn update_from(&self, held: Generation) -> Update {
        if held == self.generation() {
            return Update::Nothing;
        }
        let Some(first) = self.log.iter().position(|step| step.before == held) else {
            return Update::Whole(self.whole());
        };
        let mut deltas = self.deltas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(delta) = deltas.by_base.get(&held) {
            return Update::Delta(delta.clone());
        }
        // Under the lock, so that of a thousand streams that wake up at once one encodes and the others wait for it.
        let delta = Bytes::from(self.delta(held, first).encode_to_vec());
        if deltas.bytes + delta.len() > MAX_CACHED {
            *deltas = Deltas::default();
        }
        deltas.bytes += delta.len();
        deltas.by_base.insert(held, delta.clone());
        Update::Delta(delta)
    }

    /// The whole state, encoded.
    pub(crate) fn whole(&self) -> Bytes {
        let encode = || {
            let own = std::iter::once(&self.bundle);
            let others =
                self.state.bundles.iter().filter(|it| it.trust_domain() != self.bundle.trust_domain());
            let update = issuer::TrustUpdate {
                base: None,
                bundles: own.chain(others).map(|it| bundle(it)).collect(),
                bundles_gone: Vec::new(),
                revoked: self.state.revocations.encode(),
                restored: self.undone.iter().flat_map(|key| key.0).collect(),
                ..self.update()
            };
            Bytes::from(update.encode_to_vec())
        };
        self.whole.get_or_init(encode).clone()
    }

    /// The changes of all steps from the one at `first`, as one. A later step overrides an earlier one.
    fn delta(&self, base: Generation, first: usize) -> issuer::TrustUpdate {
        let mut bundles: BTreeMap<&TrustDomain, Option<&Arc<Bundle>>> = BTreeMap::new();
        let mut revocations: BTreeMap<RevocationKey, Option<Revocation>> = BTreeMap::new();
        for Step { diff, .. } in self.log.range(first..).map(|step| &**step) {
            bundles.extend(diff.bundles_gone.iter().map(|gone| (gone.trust_domain(), None)));
            bundles.extend(diff.bundles.iter().map(|changed| (changed.trust_domain(), Some(changed))));
            revocations.extend(diff.revocations.removed.iter().map(|key| (*key, None)));
            revocations.extend(diff.revocations.added.iter().map(|added| (added.key, Some(*added))));
        }
        let gone = bundles.iter().filter(|(_, now)| now.is_none());
        let restored = revocations.iter().filter(|(_, now)| now.is_none());
        issuer::TrustUpdate {
            base: Some(generation(base)),
            bundles_gone: gone.map(|(domain, _)| domain.to_string()).collect(),
            bundles: bundles.values().flatten().map(|it| bundle(it)).collect(),
            restored: restored.flat_map(|(key, _)| key.0).collect(),
            revoked: revocations.values().flatten().flat_map(Revocation::encode).collect(),
            ..self.update()
        }
    }

    /// What all updates to this state have in common.
    fn update(&self) -> issuer::TrustUpdate {
        issuer::TrustUpdate {
            generation: Some(generation(self.generation())),
            digest: self.digest.to_vec(),
            known: Some(generation(self.known)),
            ..issuer::TrustUpdate::default()
        }
    }
}

/// A generation on the wire.
pub(crate) fn generation(generation: Generation) -> issuer::Generation {
    issuer::Generation { epoch: generation.epoch, counter: generation.counter }
}

/// A bundle on the wire.
pub(crate) fn bundle(bundle: &Bundle) -> issuer::TrustBundle {
    issuer::TrustBundle {
        trust_domain: bundle.trust_domain().to_string(),
        x509_authorities: bundle.authorities().iter().map(|root| root.der().to_vec()).collect(),
        sequence: bundle.sequence(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_spiffe::trust_state::Changes;
    use avouch_spiffe::{BundleSet, Revocations};
    use std::time::{Duration, Instant};

    const EPOCH: u32 = 1_800_000_000;

    fn at(counter: u32) -> Generation {
        Generation { epoch: EPOCH, counter }
    }

    fn revocation(number: u32, since: u32) -> Revocation {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let ends_at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(EPOCH + number));
        Revocation { key: RevocationKey(key), since: at(since), ends_at, proof: [7; 16] }
    }

    fn own(sequence: u64) -> Arc<Bundle> {
        Arc::new(Bundle::new("market.example".parse().unwrap(), Vec::new(), sequence))
    }

    fn state(counter: u32, sequence: u64, revocations: &[Revocation]) -> TrustState {
        TrustState {
            generation: at(counter),
            bundles: BundleSet::from_iter([own(sequence)]),
            revocations: Arc::new(Revocations::new(revocations.iter().copied()).unwrap()),
        }
    }

    fn first(revocations: &[Revocation]) -> Published {
        Published::first(state(1, 1, revocations), own(1), at(0), Vec::new())
    }

    fn decoded(bytes: &Bytes) -> issuer::TrustUpdate {
        issuer::TrustUpdate::decode(bytes.clone()).unwrap()
    }

    /// What a workload that held `older` holds after this delta.
    fn applied(older: &Revocations, update: &issuer::TrustUpdate) -> Revocations {
        older.apply(&Changes::decode(&update.revoked, &update.restored).unwrap()).unwrap()
    }

    #[test]
    fn whoever_holds_nothing_or_something_unknown_gets_the_whole_state() {
        let undone = RevocationKey([9; 16]);
        let bundle = own(1);
        let published =
            Published::first(state(1, 1, &[revocation(2, 1), revocation(1, 1)]), bundle, at(0), vec![undone]);
        for held in [Generation::NONE, at(7), Generation { epoch: EPOCH + 1, counter: 1 }] {
            let Update::Whole(bytes) = published.update_from(held) else { panic!("{held}") };
            let update = decoded(&bytes);
            assert_eq!((update.base, update.known), (None, Some(generation(at(0)))));
            assert_eq!(Revocations::decode(&update.revoked).unwrap(), *published.state.revocations);
            assert_eq!(update.restored, undone.0);
            assert_eq!(update.digest, published.state.revocations.digest());
            assert_eq!(update.bundles[0].sequence, 1);
        }
        assert_eq!(published.update_from(at(1)), Update::Nothing);
    }

    #[test]
    fn whoever_is_many_changes_behind_gets_one_delta() {
        let (a, b, c) = (revocation(1, 1), revocation(2, 2), revocation(3, 3));
        let start = first(&[a]);
        let second = start.next(state(2, 1, &[a, b]), own(1), Vec::new());
        let third = second.next(state(3, 1, &[a, b, c]), own(1), Vec::new());
        let last = third.next(state(4, 2, &[a, c]), own(2), Vec::new());
        for (held, older) in [(at(1), &start), (at(2), &second), (at(3), &third)] {
            let Update::Delta(bytes) = last.update_from(held) else { panic!("{held}") };
            let update = decoded(&bytes);
            assert_eq!((update.base, update.generation), (Some(generation(held)), Some(generation(at(4)))));
            let reached = applied(&older.state.revocations, &update);
            assert_eq!(reached.digest().to_vec(), update.digest, "{held}");
            assert_eq!(update.bundles.iter().map(|it| it.sequence).collect::<Vec<_>>(), [2]);
        }
    }

    #[test]
    fn what_was_revoked_undone_and_revoked_again_is_revoked() {
        let (before, again) = (revocation(1, 1), revocation(1, 3));
        let start = first(&[before]);
        let undone = start.next(state(2, 1, &[]), own(1), vec![before.key]);
        let last = undone.next(state(3, 1, &[again]), own(1), Vec::new());
        let Update::Delta(bytes) = last.update_from(at(1)) else { panic!("no delta") };
        let update = decoded(&bytes);
        assert_eq!(applied(&start.state.revocations, &update), *last.state.revocations);
        assert!(update.restored.is_empty());
    }

    #[test]
    fn an_update_is_encoded_once_for_all_who_need_the_same_one() {
        let published = first(&[]).next(state(2, 1, &[revocation(1, 2)]), own(1), Vec::new());
        let (Update::Delta(one), Update::Delta(two)) =
            (published.update_from(at(1)), published.update_from(at(1)))
        else {
            panic!("no deltas")
        };
        assert_eq!(one.as_ptr(), two.as_ptr());
        assert_eq!(published.whole().as_ptr(), published.whole().as_ptr());
    }

    #[test]
    fn the_log_is_bounded_and_whoever_is_further_behind_gets_the_whole_state() {
        let mut published = first(&[]);
        for counter in 2..=u32::try_from(MAX_STEPS).unwrap() + 3 {
            published = published.next(state(counter, 1, &[]), own(1), Vec::new());
        }
        assert_eq!(published.log.len(), MAX_STEPS);
        assert!(matches!(published.update_from(at(1)), Update::Whole(_)));
        assert!(matches!(published.update_from(at(3)), Update::Delta(_)));

        let many: Vec<_> = (0..u32::try_from(MAX_CHANGES).unwrap() + 1).map(|it| revocation(it, 2)).collect();
        let much = first(&[]).next(state(2, 1, &many), own(1), Vec::new());
        assert!(matches!(much.update_from(at(1)), Update::Whole(_)));
    }

    #[test]
    fn ten_thousand_revocations_are_published_and_encoded_within_a_fraction_of_a_second() {
        let many: Vec<_> = (0..10_000).map(|it| revocation(it, 1)).collect();
        let start = first(&many);
        let more = [many.as_slice(), &[revocation(10_000, 2)]].concat();
        let began = Instant::now();
        let published = start.next(state(2, 1, &more), own(1), Vec::new());
        for _ in 0..1_000 {
            assert!(matches!(published.update_from(at(1)), Update::Delta(delta) if delta.len() < 200));
            assert!(matches!(published.update_from(at(7)), Update::Whole(whole) if whole.len() > 480_000));
        }
        // Milliseconds, unoptimised; the limit leaves room for a machine that is busy.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
