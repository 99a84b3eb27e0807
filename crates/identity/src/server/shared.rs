//! The state that the connections of a listener share: its settings, observers and counts, and its signals to them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use avouch_time::clock::SharedClock;
use tokio::sync::watch;

use super::options::ServerOptions;
use super::shares::Shares;
use crate::clock_watch::ClockWatch;
use crate::filter::IdentityFilter;
use crate::http_rules::Serves;
use crate::identity::{Identity, Snapshot};
use crate::method_set::MethodSet;
use crate::record::{
    CallRefused, ConnectionClosed, ConnectionEnd, ConnectionObserver, ConnectionRecord, RequestRefused,
};

/// The state that every connection of a listener needs.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) filter: IdentityFilter,
    pub(super) options: ServerOptions,
    pub(super) optional_client_certificate: bool,
    pub(super) serves: Serves,
    pub(super) binding: Option<&'static str>,
    /// The methods with client streaming.
    pub(super) client_streams: MethodSet,
    pub(super) observers: Vec<Arc<dyn ConnectionObserver>>,
    pub(super) shares: Shares,
    pub(super) open: AtomicUsize,
    pub(super) cut: AtomicUsize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("filter", &self.filter)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn record(&self, record: &ConnectionRecord) {
        for observer in &self.observers {
            observer.connection(record);
        }
    }

    pub(super) fn ended(&self, end: &ConnectionEnd) {
        for observer in &self.observers {
            observer.ended(end);
        }
    }

    /// Whether the client of this method streams.
    pub(super) fn is_client_stream(&self, path: &str) -> bool {
        self.client_streams.contains(path)
    }

    pub(super) fn call_refused(&self, refused: &CallRefused<'_>) {
        for observer in &self.observers {
            observer.call_refused(refused);
        }
    }

    pub(super) fn request_refused(&self, refused: &RequestRefused<'_>) {
        for observer in &self.observers {
            observer.request_refused(refused);
        }
    }

    pub(super) fn closed(&self, closed: &ConnectionClosed) {
        for observer in &self.observers {
            observer.closed(closed);
        }
    }

    /// The sequence number of the own trust domain's bundle.
    pub(super) fn bundle_sequence(&self) -> u64 {
        let snapshot = self.identity.snapshot();
        let own = snapshot.trust.bundles().get(snapshot.svid.spiffe_id().trust_domain());
        own.map_or(0, |bundle| bundle.sequence())
    }
}

/// The signals to every connection of a listener.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signals {
    /// The listener is asked to stop.
    pub(super) draining: bool,
    /// The number of jumps of the wall clock.
    pub(super) clock_jumps: u64,
    /// The number of snapshots that the identity has published.
    pub(super) snapshots: u64,
}

/// Tells every connection when the wall clock has jumped.
pub(super) async fn watch_clock(clock: SharedClock, signals: watch::Sender<Signals>) {
    let mut watch = ClockWatch::new(clock);
    loop {
        watch.jumped().await;
        signals.send_modify(|signals| signals.clock_jumps += 1);
    }
}

/// Tells every connection when the identity has another SVID or trusts others.
pub(super) async fn watch_identity(
    mut published: watch::Receiver<Arc<Snapshot>>,
    signals: watch::Sender<Signals>,
) {
    while published.changed().await.is_ok() {
        signals.send_modify(|signals| signals.snapshots += 1);
    }
}
