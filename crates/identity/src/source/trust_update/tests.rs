//! Every update makes the state that the issuer means, or is refused.

use std::time::Duration;

use avouch_spiffe::trust_state::{MAX_REVOCATIONS, RevocationError};
use avouch_spiffe::x509::Authority;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

use super::*;

const NOW: u64 = 1_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn own() -> TrustDomain {
    "market.example".parse().unwrap()
}

fn number(epoch: u32, counter: u32) -> Generation {
    Generation { epoch, counter }
}

/// Roots, made once: a key pair takes longer than all the rest of a case.
fn roots() -> &'static [Authority] {
    static ROOTS: std::sync::LazyLock<Vec<Authority>> = std::sync::LazyLock::new(|| {
        (0..3)
            .map(|_| {
                let mut params = CertificateParams::default();
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
                let root = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
                Authority::parse(root.der()).unwrap()
            })
            .collect()
    });
    &ROOTS
}

fn bundle(domain: &str, root: usize, sequence: u64) -> Bundle {
    Bundle::new(domain.parse().unwrap(), vec![roots()[root % roots().len()].clone()], sequence)
}

fn revocation(key: u8, since: Generation, ends_at: u64) -> Revocation {
    Revocation { key: RevocationKey([key; 16]), since, ends_at: at(ends_at), proof: [key; 16] }
}

fn state(generation: Generation, revocations: impl IntoIterator<Item = Revocation>) -> TrustState {
    let revocations = Arc::new(Revocations::new(revocations).unwrap());
    TrustState { generation, bundles: BundleSet::from_iter([bundle("market.example", 0, 1)]), revocations }
}

fn wire(generation: Generation) -> Option<api::Generation> {
    Some(api::Generation { epoch: generation.epoch, counter: generation.counter })
}

fn wire_bundles(bundles: &BundleSet) -> Vec<api::TrustBundle> {
    let (first, others): (Vec<_>, Vec<_>) = bundles.iter().partition(|it| *it.trust_domain() == own());
    let wire = |it: &Arc<Bundle>| api::TrustBundle {
        trust_domain: it.trust_domain().to_string(),
        x509_authorities: it.authorities().iter().map(|root| root.der().to_vec()).collect(),
        sequence: it.sequence(),
    };
    first.into_iter().chain(others).map(wire).collect()
}

/// What an issuer sends to whoever holds nothing.
fn whole(state: &TrustState, known: Generation) -> api::TrustUpdate {
    api::TrustUpdate {
        generation: wire(state.generation),
        bundles: wire_bundles(&state.bundles),
        revoked: state.revocations.encode(),
        digest: state.revocations.digest().to_vec(),
        known: wire(known),
        ..api::TrustUpdate::default()
    }
}

/// What an issuer sends to whoever holds `older`.
fn delta(state: &TrustState, older: &TrustState) -> api::TrustUpdate {
    let diff = state.diff(older);
    let (revoked, restored) = diff.revocations.encode();
    api::TrustUpdate {
        generation: wire(state.generation),
        base: wire(older.generation),
        bundles: wire_bundles(&diff.bundles),
        bundles_gone: diff.bundles_gone.iter().map(|it| it.trust_domain().to_string()).collect(),
        revoked,
        restored,
        digest: state.revocations.digest().to_vec(),
        known: None,
    }
}

fn take(held: &HeldTrust, update: &api::TrustUpdate) -> Result<Option<HeldTrust>, TrustUpdateError> {
    held.apply(&update.encode_to_vec(), &own(), at(NOW))
}

fn taken(held: &HeldTrust, update: &api::TrustUpdate) -> HeldTrust {
    take(held, update).unwrap().expect("a new state")
}

fn keys(revocations: impl IntoIterator<Item = Revocation>) -> Vec<u8> {
    revocations.into_iter().map(|it| it.key.0[0]).collect()
}

#[test]
fn a_whole_state_comes_first_and_a_delta_changes_it() {
    let first = state(number(7, 1), [revocation(1, number(7, 1), 2_000)]);
    let held = taken(&HeldTrust::default(), &whole(&first, Generation::NONE));
    assert_eq!(*held.state(), first);
    let mut second = state(number(7, 2), [revocation(2, number(7, 2), 2_000)]);
    second.bundles.insert(bundle("partner.example", 1, 9));
    let held = taken(&held, &delta(&second, &first));
    assert_eq!(*held.state(), second);
    let third = state(number(7, 3), []);
    assert_eq!(*taken(&held, &delta(&third, &second)).state(), third);
    // The same again is nothing new, and an older one is refused.
    assert!(take(&held, &whole(&second, Generation::NONE)).unwrap().is_none());
    let error = take(&held, &whole(&first, Generation::NONE)).unwrap_err();
    assert!(matches!(error, TrustUpdateError::RolledBack { .. }) && !error.asks_for_all(), "{error}");
    assert!(error.to_string().contains("clock"), "{error}");
}

#[test]
fn what_is_wrong_is_named_and_nothing_of_it_is_taken() {
    let held = HeldTrust::from(state(number(7, 1), [revocation(1, number(7, 1), 2_000)]));
    let next = state(number(7, 2), [revocation(1, number(7, 1), 2_000), revocation(2, number(7, 2), 2_000)]);
    let good = delta(&next, held.state());
    let all = whole(&next, Generation::NONE);
    let foreign = |name: &str| {
        let mut bundle = wire_bundles(&BundleSet::from_iter([bundle("partner.example", 1, 1)])).remove(0);
        bundle.trust_domain = name.to_owned();
        bundle
    };
    let mut unreadable = foreign("partner.example");
    unreadable.x509_authorities = vec![vec![7; 40]];
    let with = |bundle| api::TrustUpdate { bundles: vec![all.bundles[0].clone(), bundle], ..all.clone() };
    type Is = fn(&TrustUpdateError) -> bool;
    let cases: [(api::TrustUpdate, Is); 14] = [
        (api::TrustUpdate { digest: vec![0; 32], ..good.clone() }, |it| {
            matches!(it, TrustUpdateError::Digest)
        }),
        (api::TrustUpdate { digest: Vec::new(), ..all.clone() }, |it| matches!(it, TrustUpdateError::Digest)),
        (api::TrustUpdate { revoked: Vec::new(), ..good.clone() }, |it| {
            matches!(it, TrustUpdateError::Digest)
        }),
        (api::TrustUpdate { revoked: good.revoked[..47].to_vec(), ..good.clone() }, |it| {
            matches!(it, TrustUpdateError::Revocations(RevocationError::Truncated { .. }))
        }),
        (api::TrustUpdate { revoked: all.revoked[..48].to_vec(), ..all.clone() }, |it| {
            matches!(it, TrustUpdateError::Digest)
        }),
        (api::TrustUpdate { base: wire(number(7, 0)), ..good.clone() }, |it| {
            matches!(it, TrustUpdateError::WrongBase { .. })
        }),
        (api::TrustUpdate { generation: None, ..good.clone() }, |it| {
            matches!(it, TrustUpdateError::NoGeneration)
        }),
        (api::TrustUpdate { generation: wire(number(6, 9)), ..good.clone() }, |it| {
            matches!(it, TrustUpdateError::RolledBack { .. })
        }),
        (api::TrustUpdate { bundles: vec![foreign("evil.example")], ..all.clone() }, |it| {
            matches!(it, TrustUpdateError::OtherDomain { .. })
        }),
        (with(foreign("market.example")), |it| matches!(it, TrustUpdateError::BundleTwice(_))),
        (with(unreadable), |it| matches!(it, TrustUpdateError::Bundle { .. })),
        (api::TrustUpdate { bundles: Vec::new(), ..all.clone() }, |it| {
            matches!(it, TrustUpdateError::NoOwnBundle(_))
        }),
        (api::TrustUpdate { bundles_gone: vec!["market.example".to_owned()], ..good.clone() }, |it| {
            matches!(it, TrustUpdateError::NoOwnBundle(_))
        }),
        (api::TrustUpdate { bundles_gone: vec!["partner.example".to_owned()], ..good.clone() }, |it| {
            matches!(it, TrustUpdateError::UnknownDomain(_))
        }),
    ];
    for (index, (update, is)) in cases.into_iter().enumerate() {
        let error = take(&held, &update).unwrap_err();
        assert!(is(&error), "case {index}: {error:?}");
    }
    let too_many = vec![0; (MAX_REVOCATIONS + 1) * Revocation::BYTES];
    let error = take(&held, &api::TrustUpdate { revoked: too_many, ..all }).unwrap_err();
    assert!(matches!(error, TrustUpdateError::Revocations(RevocationError::TooMany { .. })), "{error:?}");
    assert_eq!(*taken(&held, &good).state(), next);
}

#[test]
fn a_later_epoch_that_lost_revocations_gets_them_back_and_they_stay_in_force() {
    let held = HeldTrust::from(state(
        number(7, 9),
        [
            revocation(1, number(7, 3), 2_000), // the backup has it
            revocation(2, number(7, 8), 2_000), // the backup lacks it
            revocation(3, number(7, 9), 2_000), // the backup lacks it, and the operator has undone it since
            revocation(4, number(7, 9), 900),   // it has ended
            revocation(5, number(7, 4), 2_000), // the backup has it, and it was undone before the restore
        ],
    ));
    let restored = state(number(8, 5), [revocation(1, number(7, 3), 2_000)]);
    let mut update = whole(&restored, number(7, 5));
    update.restored = vec![3; 16];
    let held = taken(&held, &update);
    assert_eq!(keys(held.state().revocations.iter().copied()), [1, 2]);
    assert_eq!(keys(held.unknown().copied()), [2]);

    // A change that has nothing to do with it: the digest is of what the issuer knows.
    let other = state(number(8, 6), [revocation(1, number(7, 3), 2_000), revocation(6, number(8, 6), 2_000)]);
    let held = taken(&held, &delta(&other, &restored));
    assert_eq!(keys(held.state().revocations.iter().copied()), [1, 2, 6]);
    assert_eq!(keys(held.unknown().copied()), [2]);
    // It survives a restart, and a whole state of the same epoch.
    let (domain, held) = HeldTrust::from_bytes(&held.to_bytes(&own())).unwrap();
    assert_eq!((domain, keys(held.unknown().copied())), (own(), vec![2]));
    let again = taken(&held, &whole(&state(number(8, 7), []), number(7, 5)));
    assert_eq!(keys(again.unknown().copied()), [2]);

    // The issuer takes it back, or says that it is undone.
    let back =
        state(number(8, 7), other.revocations.iter().copied().chain([revocation(2, number(8, 7), 2_000)]));
    let back = taken(&held, &delta(&back, &other));
    assert_eq!((keys(back.state().revocations.iter().copied()), back.unknown().count()), (vec![1, 2, 6], 0));
    let mut undo = delta(&TrustState { generation: number(8, 7), ..other.clone() }, &other);
    undo.restored = vec![2; 16];
    let undone = taken(&held, &undo);
    assert_eq!((keys(undone.state().revocations.iter().copied()), undone.unknown().count()), (vec![1, 6], 0));
}

#[test]
fn what_has_ended_is_not_in_force_and_stays_in_the_digest() {
    let first = state(number(7, 1), [revocation(1, number(7, 1), 500), revocation(2, number(7, 1), 2_000)]);
    let held = HeldTrust::from(first.clone());
    assert_eq!(keys(held.in_force_at(at(NOW)).revocations.iter().copied()), [2]);
    assert!(Arc::ptr_eq(&held.in_force_at(at(1)).revocations, &held.state().revocations));
    let second = state(number(7, 2), first.revocations.iter().copied());
    assert_eq!(*taken(&held, &delta(&second, &first)).state(), second);
}

#[test]
fn an_issuer_that_sends_bundles_alone_changes_the_own_bundle_only() {
    let mut known = state(number(7, 1), [revocation(1, number(7, 1), 2_000)]);
    known.bundles.insert(bundle("partner.example", 1, 4));
    let held = HeldTrust::from(known);
    assert!(held.with_bundle(bundle("market.example", 1, 1)).is_none());
    let next = held.with_bundle(bundle("market.example", 1, 2)).unwrap();
    assert_eq!(next.state().bundles.len(), 2);
    assert_eq!((next.generation(), &next.state().revocations), (number(7, 1), &held.state().revocations));
}

/// Key, counter and end of revocations.
type Revoked = Vec<(u8, u32, u64)>;
/// Root and sequence number of federated domains' bundles.
type Federated = [Option<(usize, u64)>; 2];

/// Up to eight revocations of few keys, so that they come, change and go.
fn some_revocations() -> impl Strategy<Value = Revoked> {
    prop::collection::vec((0_u8..12, 1_u32..20, 1_500_u64..3_000), 0..8)
}

/// A root and a number for up to two federated domains.
fn some_bundles() -> impl Strategy<Value = Federated> {
    prop::array::uniform2(prop::option::of((0_usize..3, 0_u64..3)))
}

fn states(parts: Vec<(Revoked, Federated)>) -> Vec<TrustState> {
    let one = |(counter, (revoked, federated)): (usize, (Revoked, Federated))| {
        let revoked = revoked.into_iter().map(|(key, since, ends)| revocation(key, number(7, since), ends));
        let mut state = state(number(7, u32::try_from(counter).unwrap() + 1), revoked);
        for (domain, part) in ["partner.example", "supplier.example"].into_iter().zip(federated) {
            if let Some((root, sequence)) = part {
                state.bundles.insert(bundle(domain, root, sequence));
            }
        }
        state
    };
    parts.into_iter().enumerate().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_sequence_of_deltas_equals_the_whole_state(
        parts in prop::collection::vec((some_revocations(), some_bundles()), 1..8),
        skipped in prop::collection::vec(any::<bool>(), 8),
    ) {
        let mut states = states(parts).into_iter();
        let first = states.next().unwrap();
        let mut held = taken(&HeldTrust::default(), &whole(&first, Generation::NONE));
        // An issuer sends what differs from the acknowledged state, and may leave states in between out.
        for (state, skip) in states.zip(skipped) {
            if !skip {
                held = taken(&held, &delta(&state, held.state()));
                prop_assert_eq!(held.state(), &state);
                let at_once = taken(&HeldTrust::default(), &whole(&state, Generation::NONE));
                prop_assert_eq!(&held, &at_once);
            }
        }
        let (domain, loaded) = HeldTrust::from_bytes(&held.to_bytes(&own())).unwrap();
        prop_assert_eq!((domain, loaded), (own(), held));
    }

    #[test]
    fn a_truncated_or_changed_update_is_refused_or_revokes_what_the_digest_says(
        revoked in some_revocations(),
        federated in some_bundles(),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<bool>(),
        as_delta in any::<bool>(),
    ) {
        let held = HeldTrust::from(state(number(7, 1), [revocation(1, number(7, 1), 2_000)]));
        let mut next = states(vec![(revoked, federated)]).remove(0);
        next.generation = number(7, 2);
        let update = if as_delta { delta(&next, held.state()) } else { whole(&next, Generation::NONE) };
        let mut bytes = update.encode_to_vec();
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] ^= 1 << bit }
        if let Ok(Some(taken)) = held.apply(&bytes, &own(), at(NOW)) {
            prop_assert_eq!(taken.digest(), next.revocations.digest());
            prop_assert!(taken.generation() > held.generation());
            prop_assert!(taken.state().bundles.get(&own()).is_some());
        }
    }

    #[test]
    fn a_damaged_file_is_refused(
        revoked in some_revocations(),
        federated in some_bundles(),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<bool>(),
    ) {
        let held = HeldTrust::from(states(vec![(revoked, federated)]).remove(0));
        let mut bytes = held.to_bytes(&own());
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] ^= 1 << bit }
        prop_assert!(HeldTrust::from_bytes(&bytes).is_err());
    }

    #[test]
    fn what_is_no_update_ends_in_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let held = HeldTrust::from(state(number(7, 1), []));
        if let Ok(next) = held.apply(&bytes, &own(), at(NOW)) {
            prop_assert!(next.is_none());
        }
        prop_assert!(HeldTrust::from_bytes(&bytes).is_err());
    }
}
