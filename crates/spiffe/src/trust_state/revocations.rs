//! The set of revocations in force, and how one set becomes another.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::revocation::{Revocation, RevocationKey, RevokedKind};
use crate::peer::PeerIdentity;
use crate::x509::sha256;

/// The most revocations of one state: what fits into a gRPC message of 4 MiB, with a bundle beside them.
pub const MAX_REVOCATIONS: usize = 80_000;

/// The error of bytes that are no set of revocations, or of a set that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The number of bytes is not that of whole revocations or keys.
    #[error("{bytes} bytes are no whole number of entries of {entry} bytes")]
    Truncated {
        /// The bytes there are.
        bytes: usize,
        /// The bytes of one entry.
        entry: usize,
    },
    /// An entry's end is no time.
    #[error("the end of entry {index} is no time")]
    End {
        /// The entry's place, from 0.
        index: usize,
    },
    /// The entries are not in the order of their keys, or one is there twice.
    #[error("entry {index} is not in order")]
    Order {
        /// The entry's place, from 0.
        index: usize,
    },
    /// There are more than [`MAX_REVOCATIONS`].
    #[error(
        "{count} revocations, and at most {MAX_REVOCATIONS} can be in force at once: revoke identities or an authority in \
         place of single certificates, or wait until some have ended"
    )]
    TooMany {
        /// The number there would be.
        count: usize,
    },
}

/// The revocations in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    by_key: BTreeMap<RevocationKey, Revocation>,
}

impl Revocations {
    /// A set of revocations; of two with one key the later one counts.
    ///
    /// # Errors
    /// [`RevocationError::TooMany`].
    pub fn new(revocations: impl IntoIterator<Item = Revocation>) -> Result<Self, RevocationError> {
        let by_key: BTreeMap<_, _> = revocations.into_iter().map(|it| (it.key, it)).collect();
        match by_key.len() {
            count if count > MAX_REVOCATIONS => Err(RevocationError::TooMany { count }),
            _ => Ok(Self { by_key }),
        }
    }

    /// Reads what [`Revocations::encode`] wrote.
    ///
    /// # Errors
    /// The first thing that is wrong. Nothing is taken of a set that is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RevocationError> {
        let entries = decode_all(bytes)?;
        for (index, pair) in entries.windows(2).enumerate() {
            if let [before, after] = pair
                && before.key >= after.key
            {
                return Err(RevocationError::Order { index: index + 1 });
            }
        }
        Ok(Self { by_key: entries.into_iter().map(|it| (it.key, it)).collect() })
    }

    /// The encoded set: the revocations in the order of their keys, one behind the other.
    pub fn encode(&self) -> Vec<u8> {
        encode_all(self.iter())
    }

    /// SHA-256 of the encoded set: two processes with the same digest refuse the same peers.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.encode())
    }

    /// The revocation with this key.
    pub fn get(&self, key: &RevocationKey) -> Option<&Revocation> {
        self.by_key.get(key)
    }

    /// The revocation that stands against a peer, and its kind: its identity first, then its certificate, then the authorities
    /// of its path.
    pub fn of(&self, peer: &PeerIdentity) -> Option<(RevokedKind, &Revocation)> {
        if self.by_key.is_empty() {
            return None;
        }
        let domain = peer.spiffe_id().trust_domain();
        let find = |kind, key| self.by_key.get(&key).map(|found| (kind, found));
        find(RevokedKind::Identity, RevocationKey::identity(peer.spiffe_id()))
            .or_else(|| find(RevokedKind::Serial, RevocationKey::serial(domain, peer.serial())))
            .or_else(|| {
                let mut key_ids = peer.authority_key_ids();
                key_ids
                    .find_map(|key_id| find(RevokedKind::Authority, RevocationKey::authority(domain, key_id)))
            })
            .or_else(|| {
                let root = RevocationKey::root(domain, peer.root_sha256()?);
                find(RevokedKind::Root, root)
            })
    }

    /// The revocations, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.by_key.values()
    }

    /// The number of revocations.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The set without what has ended by `now`.
    #[must_use]
    pub fn in_force_at(&self, now: SystemTime) -> Self {
        let in_force = self.by_key.iter().filter(|(_, revocation)| revocation.ends_at > now);
        Self { by_key: in_force.map(|(key, revocation)| (*key, *revocation)).collect() }
    }

    /// What must change in `older` to become this set.
    pub fn diff(&self, older: &Self) -> Changes {
        let is_new = |revocation: &&Revocation| older.get(&revocation.key) != Some(*revocation);
        let is_gone = |key: &&RevocationKey| !self.by_key.contains_key(*key);
        Changes {
            added: self.iter().filter(is_new).copied().collect(),
            removed: older.by_key.keys().filter(is_gone).copied().collect(),
        }
    }

    /// The set after these changes.
    ///
    /// # Errors
    /// [`RevocationError::TooMany`].
    pub fn apply(&self, changes: &Changes) -> Result<Self, RevocationError> {
        let mut by_key = self.by_key.clone();
        for key in &changes.removed {
            by_key.remove(key);
        }
        by_key.extend(changes.added.iter().map(|it| (it.key, *it)));
        match by_key.len() {
            count if count > MAX_REVOCATIONS => Err(RevocationError::TooMany { count }),
            _ => Ok(Self { by_key }),
        }
    }
}

/// The changes from one set of revocations to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The revocations that are new, or differ.
    pub added: Vec<Revocation>,
    /// The keys that are no longer revoked.
    pub removed: Vec<RevocationKey>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// The encoded additions, and the encoded removals: keys, one behind the other.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        (encode_all(self.added.iter()), self.removed.iter().flat_map(|key| key.0).collect())
    }

    /// Reads what [`Changes::encode`] wrote.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(added: &[u8], removed: &[u8]) -> Result<Self, RevocationError> {
        let (keys, rest) = removed.as_chunks();
        if !rest.is_empty() {
            return Err(RevocationError::Truncated { bytes: removed.len(), entry: 16 });
        }
        if keys.len() > MAX_REVOCATIONS {
            return Err(RevocationError::TooMany { count: keys.len() });
        }
        let removed = keys.iter().map(|key| RevocationKey(*key)).collect();
        Ok(Self { added: decode_all(added)?, removed })
    }
}

fn encode_all<'a>(revocations: impl Iterator<Item = &'a Revocation>) -> Vec<u8> {
    revocations.flat_map(Revocation::encode).collect()
}

fn decode_all(bytes: &[u8]) -> Result<Vec<Revocation>, RevocationError> {
    let (entries, rest) = bytes.as_chunks::<{ Revocation::BYTES }>();
    if !rest.is_empty() {
        return Err(RevocationError::Truncated { bytes: bytes.len(), entry: Revocation::BYTES });
    }
    if entries.len() > MAX_REVOCATIONS {
        return Err(RevocationError::TooMany { count: entries.len() });
    }
    let decode = |(index, entry)| Revocation::decode(entry).ok_or(RevocationError::End { index });
    entries.iter().enumerate().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trust_state::Generation;

    fn revocation(key: u8, ends_at: u64) -> Revocation {
        Revocation {
            key: RevocationKey([key; 16]),
            since: Generation { epoch: 1, counter: u32::from(key) },
            ends_at: SystemTime::UNIX_EPOCH + Duration::from_secs(ends_at),
            proof: [key; 16],
        }
    }

    #[test]
    fn changes_turn_one_set_into_the_other() {
        let older = Revocations::new([revocation(1, 10), revocation(2, 10)]).unwrap();
        let newer = Revocations::new([revocation(3, 10), revocation(2, 20)]).unwrap();
        let changes = newer.diff(&older);
        assert_eq!((changes.added.len(), changes.removed.len()), (2, 1));
        let (added, removed) = changes.encode();
        assert_eq!(older.apply(&Changes::decode(&added, &removed).unwrap()).unwrap(), newer);
        assert!(newer.diff(&newer).is_empty());
    }

    #[test]
    fn a_set_is_read_whole_or_not_at_all() {
        let set = Revocations::new([revocation(2, 10), revocation(1, 10)]).unwrap();
        let bytes = set.encode();
        assert_eq!(Revocations::decode(&bytes).unwrap(), set);
        assert_eq!(Revocations::decode(&bytes).unwrap().digest(), set.digest());
        let truncated = Revocations::decode(&bytes[..bytes.len() - 1]);
        assert_eq!(truncated, Err(RevocationError::Truncated { bytes: 95, entry: Revocation::BYTES }));
        let (first, second) = bytes.split_at(Revocation::BYTES);
        assert_eq!(Revocations::decode(&[second, first].concat()), Err(RevocationError::Order { index: 1 }));
        assert_eq!(Revocations::decode(&[first, first].concat()), Err(RevocationError::Order { index: 1 }));
    }

    #[test]
    fn what_has_ended_is_no_longer_in_force() {
        let set = Revocations::new([revocation(1, 10), revocation(2, 20)]).unwrap();
        let left = set.in_force_at(SystemTime::UNIX_EPOCH + Duration::from_secs(10));
        assert_eq!(left.iter().map(|it| it.key.0[0]).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_set_has_a_limit() {
        let many = |count: usize| {
            (0..count).map(|index| {
                let mut one = revocation(0, 10);
                one.key.0[..8].copy_from_slice(&(index as u64).to_be_bytes());
                one
            })
        };
        let full = Revocations::new(many(MAX_REVOCATIONS)).unwrap();
        let more = many(MAX_REVOCATIONS + 1);
        assert!(matches!(Revocations::new(more), Err(RevocationError::TooMany { .. })));
        let one = Changes { added: vec![revocation(0xff, 10)], removed: Vec::new() };
        let error = full.apply(&one).unwrap_err();
        assert!(error.to_string().contains("revoke identities"), "{error}");
        assert!(full.encode().len() < 4 * 1024 * 1024 - 64 * 1024);
    }
}
