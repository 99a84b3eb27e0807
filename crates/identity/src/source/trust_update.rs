//! The trust state that a workload holds, and how an update of its issuer makes the next one of it (ADR 10).
//!
//! Pure: bytes and a held state in, the next state or an error out. An update is taken whole or not at all: its generation
//! is greater than the one held, it changes the very state that is held, every bundle in it can be read, and the
//! revocations that come of it are those of its digest.
//!
//! A restored issuer does not know the revocations that its backup lacks. A workload keeps them, refuses their holders as
//! before and returns them: [`HeldTrust::unknown`]. They are no part of the issuer's digest until it has taken them back.

mod error;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use avouch_api::issuer::v1 as api;
use avouch_spiffe::trust_state::Changes;
use avouch_spiffe::{
    Bundle, BundleSet, Generation, Revocation, RevocationKey, Revocations, TrustDomain, TrustState,
};
use prost::Message as _;

pub use self::error::TrustUpdateError;

/// The trust state that a workload holds. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldTrust {
    state: TrustState,
    /// The keys of the revocations that the issuer does not know, because it was restored from a backup.
    unknown: Arc<BTreeSet<RevocationKey>>,
}

impl From<TrustState> for HeldTrust {
    /// A state all of which its issuer knows.
    fn from(state: TrustState) -> Self {
        Self { state, unknown: Arc::default() }
    }
}

impl HeldTrust {
    /// The whole state, with revocations that have ended and are still listed by the issuer.
    pub fn state(&self) -> &TrustState {
        &self.state
    }

    /// The generation of the state; [`Generation::NONE`] where it comes from no issuer that knows trust states.
    pub fn generation(&self) -> Generation {
        self.state.generation
    }

    /// The revocations that are in force here and unknown to the issuer: to be returned to it.
    pub fn unknown(&self) -> impl Iterator<Item = &Revocation> {
        self.unknown.iter().filter_map(|key| self.state.revocations.get(key))
    }

    /// The state without the revocations that had ended at `moment`.
    ///
    /// What has ended stays in the held state: the issuer's digests count it until the issuer leaves it out, and a clock
    /// that jumps forward and back again must not lose a revocation.
    pub fn in_force_at(&self, moment: SystemTime) -> TrustState {
        let all = &self.state.revocations;
        if all.iter().all(|revocation| revocation.ends_at > moment) {
            return self.state.clone();
        }
        TrustState { revocations: Arc::new(all.in_force_at(moment)), ..self.state.clone() }
    }

    /// The state that the encoded `TrustUpdate` makes of this one; `None`: it is the held one already. `own` is the own
    /// trust domain, `now` decides which unknown revocations are still worth returning.
    ///
    /// # Errors
    /// The first thing that is wrong with the update. The held state stays as it is.
    pub fn apply(
        &self,
        update: &[u8],
        own: &TrustDomain,
        now: SystemTime,
    ) -> Result<Option<Self>, TrustUpdateError> {
        let update = api::TrustUpdate::decode(update)?;
        let offered = update.generation.map(generation).ok_or(TrustUpdateError::NoGeneration)?;
        let held = self.generation();
        if offered == held {
            return Ok(None);
        }
        if offered < held {
            return Err(TrustUpdateError::RolledBack { held, offered });
        }
        let digest = digest(&update.digest)?;
        let next = match update.base.map(generation) {
            Some(base) if base != held => return Err(TrustUpdateError::WrongBase { held, base }),
            Some(_) => self.changed(update, offered, own)?,
            None => self.replaced(update, offered, own, now)?,
        };
        if next.state.bundles.get(own).is_none() {
            return Err(TrustUpdateError::NoOwnBundle(own.clone()));
        }
        if next.digest() != digest {
            return Err(TrustUpdateError::Digest);
        }
        Ok(Some(next))
    }

    /// The state with another bundle of the own trust domain, from an issuer that sends bundles alone; `None`: the bundle is
    /// not newer.
    pub fn with_bundle(&self, bundle: Bundle) -> Option<Self> {
        let held = self.state.bundles.get(bundle.trust_domain());
        if held.is_some_and(|held| bundle.sequence() <= held.sequence()) {
            return None;
        }
        let mut next = self.clone();
        next.state.bundles.insert(bundle);
        Some(next)
    }

    /// The state after the changes of an update that is not whole.
    fn changed(
        &self,
        update: api::TrustUpdate,
        generation: Generation,
        own: &TrustDomain,
    ) -> Result<Self, TrustUpdateError> {
        let gone = self.gone(&update.bundles_gone, own)?;
        let mut bundles: BundleSet = self
            .state
            .bundles
            .iter()
            .filter(|bundle| !gone.contains(bundle.trust_domain()))
            .cloned()
            .collect();
        for bundle in read_bundles(&update.bundles)? {
            bundles.insert(bundle);
        }
        let changes = Changes::decode(&update.revoked, &update.restored)?;
        let revocations = Arc::new(self.state.revocations.apply(&changes)?);
        let mut unknown = self.unknown.clone();
        if !unknown.is_empty() {
            // What the issuer says of a key from now on counts, whether it took it back or has undone it.
            let unknown = Arc::make_mut(&mut unknown);
            let said = changes.added.iter().map(|added| &added.key).chain(&changes.removed);
            for key in said {
                unknown.remove(key);
            }
        }
        Ok(Self { state: TrustState { generation, bundles, revocations }, unknown })
    }

    /// The federated trust domains that are no longer trusted.
    fn gone(&self, names: &[String], own: &TrustDomain) -> Result<BTreeSet<TrustDomain>, TrustUpdateError> {
        let known = |name: &String| {
            let domain = trust_domain(name)?;
            match self.state.bundles.get(&domain) {
                _ if domain == *own => Err(TrustUpdateError::NoOwnBundle(domain)),
                Some(_) => Ok(domain),
                None => Err(TrustUpdateError::UnknownDomain(domain)),
            }
        };
        names.iter().map(known).collect()
    }

    /// The state of a whole update, and what of the held one its issuer cannot know.
    fn replaced(
        &self,
        update: api::TrustUpdate,
        generation: Generation,
        own: &TrustDomain,
        now: SystemTime,
    ) -> Result<Self, TrustUpdateError> {
        let bundles = read_bundles(&update.bundles)?;
        if let Some(first) = bundles.first().filter(|first| first.trust_domain() != own) {
            let (own, found) = (own.clone(), first.trust_domain().clone());
            return Err(TrustUpdateError::OtherDomain { own, found });
        }
        let revocations = Revocations::decode(&update.revoked)?;
        let undone = Changes::decode(&[], &update.restored)?.removed;
        let undone: BTreeSet<_> = undone.into_iter().collect();
        // Absent means that the issuer knew nothing: then all is kept that it does not name.
        let known = update.known.map_or(Generation::NONE, self::generation);
        let kept: Vec<_> = self
            .state
            .revocations
            .iter()
            .filter(|held| held.since > known && held.since.epoch < generation.epoch && held.ends_at > now)
            .filter(|held| revocations.get(&held.key).is_none() && !undone.contains(&held.key))
            .copied()
            .collect();
        let unknown = kept.iter().map(|kept| kept.key).collect();
        let revocations = if kept.is_empty() {
            revocations
        } else {
            revocations.apply(&Changes { added: kept, removed: Vec::new() })?
        };
        let revocations = Arc::new(revocations);
        let state = TrustState { generation, bundles: bundles.into_iter().collect(), revocations };
        Ok(Self { state, unknown: Arc::new(unknown) })
    }

    /// SHA-256 of the revocations that the issuer knows, as it computes it: without a second copy of all of them.
    fn digest(&self) -> [u8; 32] {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for revocation in self.state.revocations.iter() {
            if !self.unknown.contains(&revocation.key) {
                context.update(&revocation.encode());
            }
        }
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        digest
    }
}

/// The bundles of an update, in its order.
fn read_bundles(bundles: &[api::TrustBundle]) -> Result<Vec<Bundle>, TrustUpdateError> {
    let mut domains = BTreeSet::new();
    let read = |bundle: &api::TrustBundle| {
        let domain = trust_domain(&bundle.trust_domain)?;
        if !domains.insert(domain.clone()) {
            return Err(TrustUpdateError::BundleTwice(domain));
        }
        Bundle::from_ders(domain.clone(), &bundle.x509_authorities, bundle.sequence)
            .map_err(|source| TrustUpdateError::Bundle { domain, source })
    };
    bundles.iter().map(read).collect()
}

fn trust_domain(name: &str) -> Result<TrustDomain, TrustUpdateError> {
    name.parse().map_err(TrustUpdateError::TrustDomain)
}

fn generation(wire: api::Generation) -> Generation {
    Generation { epoch: wire.epoch, counter: wire.counter }
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], TrustUpdateError> {
    bytes.try_into().map_err(|_| TrustUpdateError::Digest)
}
