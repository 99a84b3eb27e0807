//! The rotating state of a workload's identity: its SVID and the bundles it trusts.
//!
//! State is published whole, through a watch of an `Arc`: a reader sees one consistent snapshot, never a new
//! certificate with an old bundle. What has been published stays in use until something newer is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use avouch_spiffe::{BundleSet, SpiffeId, TrustState};
use avouch_time::clock::{self, SharedClock};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::clock_skew::{ClockDifference, IssuerClock};
use crate::source::problem::SourceProblem;
use crate::svid::Svid;
use crate::trust::TrustStore;

/// One consistent state of an identity.
#[derive(Debug)]
pub struct Snapshot {
    /// The SVID to present.
    pub svid: Arc<Svid>,
    /// Whom it trusts and whom no longer: what peers are verified against.
    pub trust: Arc<TrustStore>,
    /// Grows by one with every publication.
    pub generation: u64,
    /// The generation with which the SVID came.
    pub(crate) svid_since: u64,
}

impl Snapshot {
    /// A first snapshot (generation 1).
    pub fn new(svid: Svid, trust: impl Into<TrustState>) -> Self {
        Self { svid: Arc::new(svid), trust: Arc::new(TrustStore::new(trust)), generation: 1, svid_since: 1 }
    }

    /// The snapshot that follows; what is not given stays.
    fn next(&self, svid: Option<Svid>, trust: Option<TrustUpdate>) -> Self {
        let generation = self.generation + 1;
        let svid_since = if svid.is_some() { generation } else { self.svid_since };
        Self {
            svid: svid.map_or_else(|| self.svid.clone(), Arc::new),
            trust: trust.map_or_else(|| self.trust.clone(), |trust| Arc::new(trust.after(&self.trust))),
            generation,
            svid_since,
        }
    }
}

/// A workload's identity: a cheap handle to state that rotates by itself.
#[derive(Clone, Debug)]
pub struct Identity {
    state: watch::Receiver<Arc<Snapshot>>,
    clock: SharedClock,
    issuer_clock: IssuerClock,
    // The source's task lives as long as any handle.
    source: Option<Arc<AbortOnDropHandle<()>>>,
    /// The addresses of this workload, as the issuer is told.
    advertised: Arc<watch::Sender<Vec<String>>>,
    /// The problems of the identity's files: what of them is not in use.
    problems: Arc<watch::Sender<Vec<SourceProblem>>>,
    /// The connections that were ended because their peer was revoked: accepted ones, and opened ones.
    connections_ended: Arc<[AtomicU64; 2]>,
}

impl Identity {
    /// An identity whose snapshots the caller publishes: for a source of one's own, and for the issuer, which issues
    /// to itself.
    pub fn publisher(initial: Snapshot) -> (Publisher, Self) {
        Self::publisher_with_clock(initial, clock::system())
    }

    /// An identity as of [`Identity::publisher`], with the clock by which certificates are judged.
    pub fn publisher_with_clock(initial: Snapshot, clock: SharedClock) -> (Publisher, Self) {
        let (sender, state) = watch::channel(Arc::new(initial));
        let publisher = Publisher { sender };
        let advertised = Arc::new(watch::Sender::new(Vec::new()));
        let issuer_clock = IssuerClock::default();
        let problems = Arc::new(watch::Sender::new(Vec::new()));
        (
            publisher,
            Self {
                state,
                clock,
                issuer_clock,
                source: None,
                advertised,
                problems,
                connections_ended: Arc::default(),
            },
        )
    }

    /// Ties a background task to the life of this identity's handles.
    pub(crate) fn with_source(mut self, task: tokio::task::JoinHandle<()>) -> Self {
        self.source = Some(Arc::new(AbortOnDropHandle::new(task)));
        self
    }

    /// Shares what its source measures of the issuer's clock.
    pub(crate) fn with_issuer_clock(mut self, issuer_clock: IssuerClock) -> Self {
        self.issuer_clock = issuer_clock;
        self
    }

    /// Tells the issuer where this workload can be reached (`host:port`), unless the configuration says so already: for a
    /// process that learns its address only when it listens. Without effect where the identity is not from the issuer.
    pub fn advertise(&self, addresses: Vec<String>) {
        self.advertised.send_if_modified(|advertised| {
            let unknown = advertised.is_empty() && !addresses.is_empty();
            if unknown {
                *advertised = addresses;
            }
            unknown
        });
    }

    /// The advertised addresses, now and later.
    pub(crate) fn advertised(&self) -> watch::Receiver<Vec<String>> {
        self.advertised.subscribe()
    }

    /// The problems of the identity's files, now and later: what of them is not in use, and why. Always none where
    /// the identity does not come from files.
    pub fn source_problems(&self) -> watch::Receiver<Vec<SourceProblem>> {
        self.problems.subscribe()
    }

    /// The sender by which the source reports its problems.
    pub(crate) fn problems(&self) -> Arc<watch::Sender<Vec<SourceProblem>>> {
        self.problems.clone()
    }

    /// The number of connections, accepted and opened with this identity, that were ended because their peer was revoked.
    pub fn connections_ended(&self) -> u64 {
        let [accepted, opened] = self.connections_ended_by_side();
        accepted + opened
    }

    /// The two parts of [`Identity::connections_ended`]: the accepted connections, and those that were opened.
    pub fn connections_ended_by_side(&self) -> [u64; 2] {
        let [accepted, opened] = &*self.connections_ended;
        [accepted, opened].map(|count| count.load(Ordering::Relaxed))
    }

    /// Counts an accepted connection that was ended because its peer was revoked.
    pub(crate) fn count_accepted_ended(&self) {
        let [accepted, _] = &*self.connections_ended;
        accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an opened connection that was ended because its peer was revoked.
    pub(crate) fn count_opened_ended(&self) {
        let [_, opened] = &*self.connections_ended;
        opened.fetch_add(1, Ordering::Relaxed);
    }

    /// The snapshot in use at this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state.borrow().clone()
    }

    /// A receiver of every later snapshot; the current one counts as seen.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        let mut receiver = self.state.clone();
        receiver.mark_unchanged();
        receiver
    }

    /// This workload's SPIFFE ID.
    pub fn spiffe_id(&self) -> SpiffeId {
        self.state.borrow().svid.spiffe_id().clone()
    }

    /// The clock by which certificates are judged.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// How far that clock is from the issuer's, as last measured; nothing where no issuer has said what its clock shows,
    /// as with an identity from files.
    pub fn clock_difference(&self) -> Option<ClockDifference> {
        self.issuer_clock.latest()
    }
}

/// The writing end of an [`Identity`].
#[derive(Debug)]
pub struct Publisher {
    sender: watch::Sender<Arc<Snapshot>>,
}

impl Publisher {
    /// Publishes an update: an SVID, bundles, a whole trust state, or an SVID with either. What it does not name stays.
    pub fn update(&self, update: impl Into<Update>) {
        let Update { svid, trust } = update.into();
        self.sender.send_modify(|current| *current = Arc::new(current.next(svid, trust)));
    }

    /// The snapshot that was published last.
    pub fn current(&self) -> Arc<Snapshot> {
        self.sender.borrow().clone()
    }
}

/// What [`Publisher::update`] publishes.
#[derive(Debug, Default)]
pub struct Update {
    svid: Option<Svid>,
    trust: Option<TrustUpdate>,
}

#[derive(Debug)]
enum TrustUpdate {
    /// Other bundles; the revocations stay.
    Bundles(BundleSet),
    State(TrustState),
}

impl TrustUpdate {
    fn after(self, current: &TrustStore) -> TrustStore {
        match self {
            Self::Bundles(bundles) => current.next(TrustState { bundles, ..current.state().clone() }),
            Self::State(state) => current.next(state),
        }
    }
}

impl From<Svid> for Update {
    fn from(svid: Svid) -> Self {
        Self { svid: Some(svid), trust: None }
    }
}

impl From<BundleSet> for Update {
    /// Other bundles, with the revocations that there are.
    fn from(bundles: BundleSet) -> Self {
        Self { svid: None, trust: Some(TrustUpdate::Bundles(bundles)) }
    }
}

impl From<TrustState> for Update {
    fn from(state: TrustState) -> Self {
        Self { svid: None, trust: Some(TrustUpdate::State(state)) }
    }
}

impl<T> From<(Svid, T)> for Update
where
    Self: From<T>,
{
    fn from((svid, trust): (Svid, T)) -> Self {
        Self { svid: Some(svid), ..trust.into() }
    }
}
