//! Revocations as they travel: a whole set (first octet 0), or changes of one (1, then the number of additions). What is
//! taken is what a naive reading finds, and encodes to the same octets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use avouch_spiffe::trust_state::{Changes, MAX_REVOCATIONS, Revocations};
use aws_lc_rs::digest::{SHA256, digest};

use super::Outcome;
use crate::world;

/// Octets of a revocation, and of its key, which comes first.
const ENTRY: usize = 48;
const KEY: usize = 16;

pub(super) fn run(data: &[u8]) -> Outcome {
    match data {
        [0, set @ ..] => whole(set),
        [1, additions, rest @ ..] => {
            let additions = (usize::from(*additions) * ENTRY).min(rest.len());
            let (added, removed) = rest.split_at(additions);
            changes(added, removed)
        }
        _ => Outcome::Refused,
    }
}

fn whole(octets: &[u8]) -> Outcome {
    let decoded = Revocations::decode(octets);
    let entries: Vec<_> = octets.chunks(ENTRY).collect();
    let ascending = entries.windows(2).all(|pair| match pair {
        [before, after] => before.get(..KEY) < after.get(..KEY),
        _ => true,
    });
    assert_eq!(decoded.is_ok(), ascending && readable(&entries), "{decoded:?}");
    if let Ok(set) = &decoded {
        assert_eq!(set.encode(), octets);
        assert_eq!(set.digest(), *digest(&SHA256, octets).as_ref());
        assert_eq!(set.len(), entries.len());
        assert_eq!(Revocations::new(set.iter().copied()).as_ref(), Ok(set));
        let nothing = Revocations::default();
        assert_eq!(nothing.apply(&set.diff(&nothing)).as_ref(), Ok(set));
        assert_eq!(set.apply(&nothing.diff(set)), Ok(nothing));
        let in_force = set.in_force_at(world::now());
        let later = entries
            .iter()
            .filter(|entry| end(entry) > world::now().duration_since(SystemTime::UNIX_EPOCH).ok());
        assert_eq!(in_force.len(), later.count());
        assert!(in_force.iter().all(|revocation| set.get(&revocation.key) == Some(revocation)));
    }
    Outcome::from(&decoded)
}

fn changes(added: &[u8], removed: &[u8]) -> Outcome {
    let decoded = Changes::decode(added, removed);
    let entries: Vec<_> = added.chunks(ENTRY).collect();
    let keys: Vec<_> = removed.chunks(KEY).collect();
    let whole_keys = keys.iter().all(|key| key.len() == KEY) && keys.len() <= MAX_REVOCATIONS;
    assert_eq!(decoded.is_ok(), whole_keys && readable(&entries), "{decoded:?}");
    if let Ok(changes) = &decoded {
        assert_eq!(changes.encode(), (added.to_vec(), removed.to_vec()));
        // Of two additions with one key the later one counts, and an addition wins over a removal.
        let expected: BTreeMap<_, _> = entries.iter().map(|entry| (entry.get(..KEY), *entry)).collect();
        let expected: Vec<u8> = expected.into_values().flatten().copied().collect();
        let once = Revocations::default().apply(changes).unwrap_or_default();
        assert_eq!(once.encode(), expected);
        assert_eq!(once.apply(changes).as_ref(), Ok(&once));
        let left =
            once.apply(&Changes { added: Vec::new(), removed: changes.removed.clone() }).unwrap_or_default();
        let gone: BTreeSet<_> = keys.iter().map(|key| Some(*key)).collect();
        assert!(left.iter().all(|revocation| !gone.contains(&Some(revocation.key.0.as_slice()))));
    }
    Outcome::from(&decoded)
}

/// Whether there are not too many, each is whole, and its end is a time.
fn readable(entries: &[&[u8]]) -> bool {
    entries.len() <= MAX_REVOCATIONS
        && entries.iter().all(|entry| entry.len() == ENTRY && end(entry).is_some())
}

/// The end of an entry since the Unix epoch. `None`: it is no time.
fn end(entry: &[u8]) -> Option<Duration> {
    let seconds = u64::from_be_bytes(entry.get(24..32)?.try_into().ok()?);
    let end = Duration::from_secs(seconds);
    SystemTime::UNIX_EPOCH.checked_add(end).map(|_| end)
}
