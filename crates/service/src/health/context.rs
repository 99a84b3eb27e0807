//! What the health port's connections share, and what the requests of one connection see of it.

use std::sync::Arc;

use avouch_identity::listen::FairLimiter;
use avouch_limits::{Network, Rate, RateLimiter};
use avouch_telemetry::Metrics;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use super::activity::Activity;
use super::limits::{MESSAGE, NETWORKS, PAGE_RATE, PAGES, WATCHES};
use crate::lifecycle::Lifecycle;

/// What all connections share.
pub(super) struct Shared {
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Metrics,
    pub(super) rpcs: HealthServer<HealthService>,
    /// Slots for answers of `/metrics` that are not read yet.
    pub(super) pages: FairLimiter<Network>,
    pub(super) page_rate: RateLimiter<Network>,
    /// Slots for streams of `Watch`.
    pub(super) watches: FairLimiter<Network>,
    /// Cancelled when the process ends.
    pub(super) closing: CancellationToken,
}

impl Shared {
    pub(super) fn new(lifecycle: Lifecycle, metrics: Metrics, rpcs: HealthServer<HealthService>) -> Self {
        let (burst, every) = PAGE_RATE;
        Self {
            lifecycle,
            metrics,
            rpcs: rpcs.max_decoding_message_size(MESSAGE),
            pages: FairLimiter::new(PAGES),
            page_rate: RateLimiter::new(Rate { burst, every }, NETWORKS),
            watches: FairLimiter::new(WATCHES),
            closing: CancellationToken::new(),
        }
    }
}

/// One connection, as its requests see it.
pub(super) struct Peer {
    pub(super) shared: Arc<Shared>,
    pub(super) network: Network,
    pub(super) activity: Activity,
    /// Slots for the connection's own streams of `Watch`.
    pub(super) watches: Arc<Semaphore>,
    /// Ends the connection at once.
    pub(super) cut: CancellationToken,
}
