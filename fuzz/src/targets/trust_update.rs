//! Updates of the trust state, as an issuer or whoever took its place could send them, to a workload that holds nothing
//! (first octet 0) or a state with revocations (1). An update is taken whole or not at all; never does one lead back, lose
//! the own bundle, or drop a revocation that it does not account for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_identity::HeldTrust;
use avouch_spiffe::trust_state::MAX_REVOCATIONS;
use avouch_spiffe::{Bundle, BundleSet, Generation, Revocation, RevocationKey, Revocations, TrustState};

use super::Outcome;
use crate::protobuf::{Value, fields};
use crate::world;

/// The generation of the held state, with revocations of the keys 1 and 2, the later of this very generation.
const HELD: Generation = Generation { epoch: 5, counter: 2 };

pub(super) fn run(data: &[u8]) -> Outcome {
    let Some((tag, update)) = data.split_first() else { return Outcome::Refused };
    let held = match tag {
        0 => HeldTrust::default(),
        1 => HeldTrust::from(held()),
        _ => return Outcome::Refused,
    };
    let own = world::domain();
    let taken = held.apply(update, &own, world::now());
    match &taken {
        Ok(Some(next)) => {
            let state = next.state();
            assert!(state.generation > held.generation());
            assert!(state.bundles.get(&own).is_some_and(|bundle| *bundle.trust_domain() == own));
            assert!(state.revocations.len() <= MAX_REVOCATIONS);
            assert!(
                next.unknown().all(|unknown| held.state().revocations.get(&unknown.key) == Some(unknown))
            );
            assert!(matches!(next.apply(update, &own, world::now()), Ok(None)), "the same update again");
            assert!(next.in_force_at(world::now()).revocations.iter().all(|it| it.ends_at > world::now()));
            account(&held, next, update);
        }
        Ok(None) => {
            assert!(once(update, 1).is_none_or(|octets| generation(octets) == Some(held.generation())))
        }
        Err(_) => {}
    }
    match taken {
        Ok(Some(_)) => Outcome::Accepted,
        _ => Outcome::Refused,
    }
}

/// Each revocation that was held and is no longer there has a reason in the update.
fn account(held: &HeldTrust, next: &HeldTrust, update: &[u8]) {
    // Fields that are there twice are merged by rules of their own.
    let [Some(_), Some(known), Some(base), Some(removed)] =
        [1, 8, 2, 6].map(|number| once(update, number).or_else(|| absent(update, number)))
    else {
        return;
    };
    let removed: BTreeSet<_> = removed.chunks(16).collect();
    let known = generation(known).unwrap_or(Generation::NONE);
    let gone = held.state().revocations.iter().filter(|it| next.state().revocations.get(&it.key).is_none());
    for revocation in gone.filter(|it| !removed.contains(it.key.0.as_slice())) {
        assert!(absent(update, 2).is_some(), "a change of {base:?} dropped {revocation:?}");
        let same_epoch = revocation.since.epoch >= next.generation().epoch;
        assert!(
            revocation.since <= known || same_epoch || revocation.ends_at <= world::now(),
            "{revocation:?}"
        );
    }
}

fn held() -> TrustState {
    let bundle = Bundle::from_ders(world::domain(), &[world::COMMITTED_ROOT.to_vec()], 1);
    let revocation = |key: u8, counter| Revocation {
        key: RevocationKey([key; 16]),
        since: Generation { epoch: HELD.epoch, counter },
        ends_at: world::now() + Duration::from_secs(3_600),
        proof: [key; 16],
    };
    let ended = Revocation { ends_at: SystemTime::UNIX_EPOCH, ..revocation(3, 1) };
    let revocations = Revocations::new([revocation(1, 1), revocation(2, 2), ended]).unwrap_or_default();
    TrustState {
        generation: HELD,
        bundles: bundle.into_iter().collect::<BundleSet>(),
        revocations: Arc::new(revocations),
    }
}

/// The octets of a field that is there once.
fn once(update: &[u8], number: u64) -> Option<&[u8]> {
    let mut found = fields(update)?.into_iter().filter(|(field, _)| *field == number);
    match (found.next(), found.next()) {
        (Some((_, Value::Octets(octets))), None) => Some(octets),
        _ => None,
    }
}

/// Nothing, for a field that is not there.
fn absent(update: &[u8], number: u64) -> Option<&[u8]> {
    fields(update)?.iter().all(|(field, _)| *field != number).then_some(&[])
}

fn generation(message: &[u8]) -> Option<Generation> {
    let number = |wanted| {
        fields(message)?.into_iter().rev().find_map(|(field, value)| match value {
            Value::Number(number) if field == wanted => u32::try_from(number).ok(),
            _ => None,
        })
    };
    fields(message)?;
    Some(Generation { epoch: number(1).unwrap_or_default(), counter: number(2).unwrap_or_default() })
}
