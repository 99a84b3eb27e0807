//! The published trust state: bundle, revocations and generation, for all trust streams and for the issuer itself.
//!
//! *Specification*: SPIFFE Trust Domain and Bundle §4.1.1: the sequence number grows with every update of the content.
//! *Enforced here*: the number comes from the store, which remembers the last content; a restart or a republication of
//! the same roots does not move it, and it never goes back. The generation grows with every change of the bundle or of the
//! revocations, and with every start (ADR 5); what is published under one generation never differs.

mod metrics;
mod proof;
mod returned;
mod subscribers;
mod updates;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use metrics::{Sent, TrustMetrics};
pub use proof::ProofKeyError;
pub(crate) use proof::Proofs;
pub(crate) use subscribers::{Seat, Subscriber, Subscribers, instance};
pub(crate) use updates::{Published, Update, bundle};

#[cfg(test)]
pub(crate) use subscribers::tests::subscriber as subscriber_for_tests;

use crate::store::{Store, StoreError, StoredRevocation};
use avouch_identity::Publisher;
use avouch_limits::{RateLimiter, log_lines};
use avouch_spiffe::trust_state::MAX_REVOCATIONS;
use avouch_spiffe::x509::{Authority, sha256};
use avouch_spiffe::{
    Bundle, BundleSet, Generation, PeerIdentity, Revocation, Revocations, SpiffeId, TrustDomain, TrustState,
};
use avouch_time::clock::SharedClock;
use returned::LostChanges;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Semaphore, watch};

/// The refresh hint: the interval at which clients should fetch the bundle again (Federation §4 recommends one).
const REFRESH_HINT: Duration = Duration::from_secs(300);
/// Large updates that are on their way at once. With 10,000 revocations each is half a megabyte in the buffers of its
/// connection: so many keep the network busy, and a thousand workloads that come back do not fill the memory.
const LARGE_SENDS: usize = 32;

/// The published state, watched by every trust stream.
#[derive(Debug)]
pub struct Trust {
    store: Arc<dyn Store>,
    clock: SharedClock,
    proofs: Proofs,
    published: watch::Sender<Arc<Published>>,
    subscribers: Subscribers,
    metrics: TrustMetrics,
    lost: Mutex<LostChanges>,
    /// The issuer's own identity, which refuses and ends connections by the same state.
    own: OnceLock<Arc<Publisher>>,
    /// The number of refreshes that were asked for; with `publishing`, of how many the last one has done the work.
    requested: AtomicU64,
    publishing: tokio::sync::Mutex<u64>,
    large_sends: Arc<Semaphore>,
    ahead_told: AtomicBool,
    /// The log lines about what workloads return, by identity.
    lines: RateLimiter<SpiffeId>,
}

impl Trust {
    /// Begins an epoch with these roots.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        proofs: Proofs,
        trust_domain: &TrustDomain,
        authorities: Vec<Authority>,
        clock: SharedClock,
        metrics: TrustMetrics,
    ) -> Result<Self, StoreError> {
        let now = clock.now();
        let bundle = numbered(&*store, trust_domain, authorities).await?;
        let known = store.begin_epoch(now).await?.known;
        let read = store.trust_revocations(now).await?;
        let revocations = proven(&proofs, &read.in_force, &Revocations::default());
        let state = TrustState {
            generation: read.generation,
            bundles: BundleSet::from_iter([Arc::clone(&bundle)]),
            revocations: Arc::new(revocations),
        };
        let subscribers = Subscribers::new(state.generation);
        metrics.follow(&subscribers);
        metrics.in_force(state.revocations.len());
        let published = Published::first(state, bundle, known, read.undone);
        Ok(Self {
            store,
            clock,
            proofs,
            published: watch::Sender::new(Arc::new(published)),
            subscribers,
            metrics,
            lost: Mutex::default(),
            own: OnceLock::new(),
            requested: AtomicU64::new(0),
            publishing: tokio::sync::Mutex::new(0),
            large_sends: Arc::new(Semaphore::new(LARGE_SENDS)),
            ahead_told: AtomicBool::new(false),
            lines: log_lines(),
        })
    }

    /// Lets the issuer's own identity follow what is published; the current state at once.
    pub(crate) fn enforce_by(&self, own: Arc<Publisher>) {
        own.update(self.state());
        let _ = self.own.set(own); // assembled once
    }

    /// Replaces the roots, and notifies all subscribers.
    ///
    /// # Errors
    /// When the store cannot answer; what was published last stays.
    pub async fn publish(&self, authorities: Vec<Authority>) -> Result<Arc<Bundle>, StoreError> {
        let _publishing = self.publishing.lock().await;
        let trust_domain = self.current().trust_domain().clone();
        let bundle = numbered(&*self.store, &trust_domain, authorities).await?;
        self.publish_state(&bundle).await?;
        Ok(self.current())
    }

    /// Reads the revocations again, and publishes them if anything has changed. To be called after every change, whoever
    /// made it; what it publishes is durable already. When it returns, the issuer itself enforces them.
    ///
    /// # Errors
    /// When the store cannot answer; what was published last stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let ticket = self.requested.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.publishing.lock().await;
        // Whoever began to read after this call has done its work: a burst of changes is published as one.
        if *done >= ticket {
            return Ok(());
        }
        let up_to = self.requested.load(Ordering::SeqCst);
        let bundle = self.current();
        self.publish_state(&bundle).await?;
        *done = up_to;
        Ok(())
    }

    /// Publishes what the store says now, with this bundle. One at a time.
    async fn publish_state(&self, bundle: &Arc<Bundle>) -> Result<(), StoreError> {
        let before = self.published();
        // The same roots in another order are the same bundle.
        let same = bundle.sequence() == before.bundle.sequence();
        let bundle = if same { &before.bundle } else { bundle };
        let now = self.clock.now();
        let mut read = self.store.trust_revocations(now).await?;
        let mut revocations = proven(&self.proofs, &read.in_force, &before.state.revocations);
        if read.generation == before.generation() {
            if same && revocations == *before.state.revocations {
                return Ok(());
            }
            // Something has ended, or the bundle is another one: the store has not counted that. It is read again, since a
            // revocation of the meantime is below the new generation as well.
            self.store.advance_generation().await?;
            read = self.store.trust_revocations(now).await?;
            revocations = proven(&self.proofs, &read.in_force, &before.state.revocations);
        }
        let state = TrustState {
            generation: read.generation,
            bundles: BundleSet::from_iter([Arc::clone(bundle)]),
            revocations: Arc::new(revocations),
        };
        // The issuer itself first: nobody is to hear of a revocation that the issuer does not enforce.
        if let Some(own) = self.own.get() {
            own.update(state.clone());
        }
        self.metrics.in_force(state.revocations.len());
        tracing::debug!(generation = %state.generation, revocations = state.revocations.len(), "trust state published");
        self.subscribers.published(state.generation);
        self.published.send_replace(Arc::new(before.next(state, Arc::clone(bundle), read.undone)));
        Ok(())
    }

    /// The bundle now.
    pub fn current(&self) -> Arc<Bundle> {
        Arc::clone(&self.published.borrow().bundle)
    }

    /// The trust state now.
    pub fn state(&self) -> TrustState {
        self.published.borrow().state.clone()
    }

    /// What is published now.
    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// What is published now, and everything later.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// The processes whose trust streams are open.
    pub(crate) fn subscribers(&self) -> &Subscribers {
        &self.subscribers
    }

    /// The turns of large updates.
    pub(crate) fn large_sends(&self) -> &Arc<Semaphore> {
        &self.large_sends
    }

    /// The series.
    pub(crate) fn metrics(&self) -> &TrustMetrics {
        &self.metrics
    }

    /// The number of changes that were lost with a restore, and that neither the store nor any workload has told of.
    pub fn lost_changes(&self) -> u64 {
        let known = self.published.borrow().known;
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).count(known)
    }

    /// Notes a generation that a workload says it uses, and tells the operator what it means if it cannot be.
    pub(crate) fn acknowledged(&self, peer: &PeerIdentity, held: Generation) {
        let published = self.published();
        if held > published.generation() && !self.ahead_told.swap(true, Ordering::Relaxed) {
            tracing::error!(
                peer = %peer.spiffe_id(),
                acknowledged = %held,
                published = %published.generation(),
                "this issuer's clock is behind the one that ran before it, so that workloads refuse its trust state: set \
                 the clock and restart the issuer"
            );
        }
        if !published.may_be_lost(held) {
            return;
        }
        let lost = {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            if lost.acknowledged(held) { lost.count(published.known) } else { 0 }
        };
        if lost > 0 {
            self.metrics.lost_changes(lost);
            tracing::warn!(
                peer = %peer.spiffe_id(),
                acknowledged = %held,
                on_record = %published.known,
                lost_changes = lost,
                "a workload knows of changes of trust that this issuer does not: it was restored from a backup; revocations \
                 among them are taken back from the workloads that return them"
            );
        }
    }

    /// Takes back the revocations that a workload returns, as far as they are the issuer's own and not on record.
    pub(crate) async fn take_returned(&self, peer: &PeerIdentity, bytes: &[u8]) -> Result<(), StoreError> {
        let (published, now) = (self.published(), self.clock.now());
        let returned = match returned::examine(bytes, &published, &self.proofs, now) {
            Ok(returned) => returned,
            Err(error) => {
                self.refuse_returned(peer, 1, &error.to_string());
                return Ok(());
            }
        };
        if returned.forged > 0 {
            self.refuse_returned(peer, returned.forged, "this issuer never made them");
        }
        if returned.genuine.is_empty() {
            return Ok(());
        }
        let taken = self.store.return_revocations(peer.spiffe_id(), returned.genuine.clone(), now).await?;
        let lost = {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.returned(&returned.genuine);
            lost.count(published.known)
        };
        self.metrics.lost_changes(lost);
        self.metrics.returned_taken(taken);
        if taken > 0 {
            tracing::warn!(
                peer = %peer.spiffe_id(),
                revocations = taken,
                lost_changes = lost,
                "revocations that the restored store did not know are in force again: a workload has returned them"
            );
        }
        self.refresh().await
    }

    fn refuse_returned(&self, peer: &PeerIdentity, revocations: usize, problem: &str) {
        self.metrics.returned_refused(revocations);
        let Ok(suppressed) = self.lines.check(peer.spiffe_id().clone(), Instant::now()) else { return };
        tracing::warn!(
            peer = %peer.spiffe_id(),
            serial = peer.serial(),
            revocations,
            problem,
            suppressed,
            "a workload returns revocations that are refused"
        );
    }
}

/// The revocations with their proofs. Those that were published before keep theirs, so that a change costs one HMAC and not
/// ten thousand.
fn proven(proofs: &Proofs, stored: &[StoredRevocation], before: &Revocations) -> Revocations {
    let prove = |stored: &StoredRevocation| {
        let ends_at = whole_seconds(stored.ends_at);
        let known = before.get(&stored.key);
        match known.filter(|known| known.since == stored.since && known.ends_at == ends_at) {
            Some(known) => *known,
            None => proofs.revocation(stored.key, stored.since, ends_at),
        }
    };
    let mut revocations: Vec<Revocation> = stored.iter().map(prove).collect();
    if revocations.len() > MAX_REVOCATIONS {
        // The store refuses to revoke more; what workloads return may exceed it all the same. What ends last has most effect.
        tracing::error!(
            revocations = revocations.len(),
            limit = MAX_REVOCATIONS,
            "there are more revocations than a trust state can hold: those that end first are not enforced"
        );
        revocations.sort_unstable_by_key(|revocation| std::cmp::Reverse(revocation.ends_at));
        revocations.truncate(MAX_REVOCATIONS);
    }
    Revocations::new(revocations).unwrap_or_default() // as many as it may have
}

/// A time in the precision of the wire, rounded up: nothing ends too early.
fn whole_seconds(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(at)
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
