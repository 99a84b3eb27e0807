//! Generations and revocations of the store in memory.

use crate::store::revocations::next_epoch;
use crate::store::{Epoch, NewRevocation, RevokeOutcome, RevokedKey, StoredRevocation, TrustRevocations};
use avouch_spiffe::{Generation, Revocation, RevocationKey, SpiffeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

#[derive(Debug, Default)]
pub(super) struct TrustTable {
    generation: Generation,
    revocations: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    revocation: NewRevocation,
    since: Generation,
    undone: bool,
}

impl TrustTable {
    pub(super) fn begin_epoch(&mut self, now: SystemTime) -> Epoch {
        let known = self.generation;
        self.generation = next_epoch(known, now);
        Epoch { known, current: self.generation }
    }

    pub(super) fn advance(&mut self) -> Generation {
        self.generation.counter += 1;
        self.generation
    }

    pub(super) fn in_force(&self, now: SystemTime) -> TrustRevocations {
        let mut in_force: BTreeMap<RevocationKey, StoredRevocation> = BTreeMap::new();
        let mut undone = BTreeSet::new();
        for row in &self.revocations {
            for RevokedKey { key, ends_at, .. } in row.revocation.keys.iter().filter(|it| it.ends_at > now) {
                let ends_at = row.revocation.expires_at.map_or(*ends_at, |expires| expires.min(*ends_at));
                let found = StoredRevocation { key: *key, since: row.since, ends_at };
                if row.undone {
                    undone.insert(*key);
                } else if ends_at > now {
                    let kept = in_force.entry(*key).or_insert(found);
                    kept.since = kept.since.max(found.since);
                    kept.ends_at = kept.ends_at.max(found.ends_at);
                }
            }
        }
        undone.retain(|key| !in_force.contains_key(key));
        let in_force = in_force.into_values().collect();
        TrustRevocations { generation: self.generation, in_force, undone: undone.into_iter().collect() }
    }

    pub(super) fn revoke(&mut self, revocation: NewRevocation) -> RevokeOutcome {
        let since = self.advance();
        self.revocations.push(Row { revocation, since, undone: false });
        RevokeOutcome { id: i64::try_from(self.revocations.len()).unwrap(), since }
    }

    pub(super) fn undo(&mut self, id: i64) -> Option<Generation> {
        let row = self.revocations.get_mut(usize::try_from(id - 1).ok()?).filter(|row| !row.undone)?;
        row.undone = true;
        Some(self.advance())
    }

    pub(super) fn take(&mut self, from: &SpiffeId, revocations: Vec<Revocation>, at: SystemTime) -> usize {
        let known: BTreeSet<_> =
            self.revocations.iter().flat_map(|row| row.revocation.keys.iter().map(|it| it.key)).collect();
        let news: Vec<_> = revocations.into_iter().filter(|it| !known.contains(&it.key)).collect();
        if !news.is_empty() {
            self.advance();
        }
        for revocation in &news {
            let keys = vec![RevokedKey { key: revocation.key, serial: None, ends_at: revocation.ends_at }];
            let revocation_of_it = NewRevocation {
                subject: String::new(),
                spiffe_id: String::new(),
                reason: String::new(),
                actor: format!("returned by {from}"),
                at,
                expires_at: None,
                keys,
            };
            self.revocations.push(Row {
                revocation: revocation_of_it,
                since: revocation.since,
                undone: false,
            });
        }
        news.len()
    }
}
