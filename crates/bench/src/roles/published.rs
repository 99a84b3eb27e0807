//! Identities whose trust state a role publishes itself: with as many revocations as are asked for, and with those that it
//! is told.

use std::sync::Arc;
use std::time::Duration;

use avouch_identity::{Identity, Publisher, Snapshot, Svid};
use avouch_spiffe::{Bundle, BundleSet, Generation, Revocation, RevocationKey, Revocations, TrustState};
use avouch_testkit::ca::domain;
use avouch_time::clock;

use crate::error::Error;
use crate::pki::Pki;

/// The time until revocations end by themselves: longer than any run.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// An identity, and what it trusts.
#[derive(Debug)]
pub(super) struct Published {
    /// The identity.
    pub(super) identity: Identity,
    publisher: Publisher,
    bundles: BundleSet,
    /// Revocations of serial numbers that nobody has.
    strangers: Vec<Revocation>,
    counter: u32,
}

impl Published {
    /// The identity of this name, which trusts the root of the run and has so many revocations of strangers.
    ///
    /// # Errors
    /// When its files cannot be used, or there are more revocations than a state may have.
    pub(super) fn new(pki: &Pki, name: &str, strangers: u32) -> Result<Self, Error> {
        let (chain, key) = pki.credentials(name)?;
        let svid = Svid::new(chain, &key).map_err(|error| failed(&error))?;
        let root = pki.root_certificate()?.to_vec();
        let bundle = Bundle::from_ders(domain(), &[root], 1).map_err(|error| failed(&error))?;
        let bundles = BundleSet::from_iter([bundle]);
        let strangers = (0..strangers).map(|number| revocation(stranger(number), 1)).collect();
        let snapshot = Snapshot::new(svid, bundles.clone());
        let (publisher, identity) = Identity::publisher(snapshot);
        let mut published = Self { identity, publisher, bundles, strangers, counter: 0 };
        published.revoke(&[])?;
        Ok(published)
    }

    /// Publishes a state in which these keys are revoked beside the strangers' and no others.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn revoke(&mut self, keys: &[RevocationKey]) -> Result<(), Error> {
        self.counter += 1;
        let revoked = keys.iter().map(|key| revocation(*key, self.counter));
        let all = self.strangers.iter().copied().chain(revoked);
        let revocations = Arc::new(Revocations::new(all).map_err(|error| failed(&error))?);
        let generation = Generation { epoch: 1, counter: self.counter };
        self.publisher.update(TrustState { generation, bundles: self.bundles.clone(), revocations });
        Ok(())
    }
}

fn stranger(number: u32) -> RevocationKey {
    RevocationKey::serial(&domain(), &format!("{number:032x}"))
}

fn revocation(key: RevocationKey, counter: u32) -> Revocation {
    let ends_at = clock::system().now() + LONGEST;
    Revocation { key, since: Generation { epoch: 1, counter }, ends_at, proof: [0; 16] }
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::other(avouch_text::with_causes(error).to_string())
}
