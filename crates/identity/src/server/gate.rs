//! What a new connection must pass: the rate of handshakes by network, the slots for handshakes, and the listener's shares.

use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_limits::{Network, Rate, RateLimiter};
use avouch_spiffe::Reason;

use super::options::ServerOptions;
use super::shared::Shared;
use super::shares::Shares;
use crate::listen::FairLimiter;
use crate::verify::Rejection;

/// The gate in front of handshakes; clones share the counts.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) rate: Arc<RateLimiter<Network>>,
    pub(super) handshakes: Arc<FairLimiter<Network>>,
    pub(super) shares: Shares,
    pub(super) unauthenticated: Arc<FairLimiter<Network>>,
}

/// The handshakes that are evicted at once when the process has run out of descriptors: more than one, since normal
/// clients wait in the same accept queue.
const ROOM_AT_ONCE: usize = 16;

/// The networks whose handshake rates are told apart, at 100 octets each.
const NETWORKS: usize = 16 * 1024;

impl Gate {
    /// The gate of a listener.
    pub(super) fn new(shared: &Shared) -> Self {
        let options = &shared.options;
        let per_second = options.max_handshake_rate.max(1);
        let rate = Rate { burst: per_second, every: Duration::from_secs(1) / per_second };
        let unauthenticated = options.max_unauthenticated_connections.min(options.max_connections / 2);
        Self {
            rate: Arc::new(RateLimiter::new(rate, NETWORKS)),
            handshakes: Arc::new(FairLimiter::new(options.max_handshakes)),
            shares: shared.shares.clone(),
            unauthenticated: Arc::new(FairLimiter::new(unauthenticated)),
        }
    }

    /// Whether a handshake with a peer from `network` may begin.
    pub(super) fn check(&self, options: &ServerOptions, network: Network) -> Result<(), Rejection> {
        if self.rate.check(network, Instant::now()).is_err() {
            let detail =
                format!("more than {} handshakes a second from {network}", options.max_handshake_rate);
            return Err(Rejection::new(Reason::HandshakeLimit, detail));
        }
        Ok(())
    }

    /// Frees descriptors when the process has run out of them: evicts handshakes of the network with the most; without
    /// any a connection without identity, or else one of the top holder. Says which network lost the first one.
    pub(super) fn make_room(&self) -> Option<Network> {
        let evicted = (0..ROOM_AT_ONCE).map_while(|_| self.handshakes.make_room());
        // `reduce`, not `next`: the iterator is lazy, and all of them have to be evicted.
        evicted
            .reduce(|first, _| first)
            .or_else(|| self.unauthenticated.make_room())
            .or_else(|| self.shares.make_room())
    }
}
