//! Rate limits of calls: per source network without an identity, per SPIFFE ID with one.

use crate::config::RateLimitSettings;
use avouch_limits::{Network, Rate, RateLimited, RateLimiter};
use avouch_spiffe::SpiffeId;
use std::net::IpAddr;
use std::time::Instant;

/// The most peers of each kind that have a bucket of their own. A bucket and its key take some hundred octets: a few
/// MiB for both kinds.
const PEERS: usize = 16_384;

/// The limits of an issuer.
#[derive(Debug)]
pub(crate) struct Limits {
    unauthenticated: RateLimiter<Network>,
    authenticated: RateLimiter<SpiffeId>,
}

impl Limits {
    /// Limits as configured.
    pub(crate) fn new(settings: &RateLimitSettings) -> Self {
        let unauthenticated =
            Rate::per_second(settings.unauthenticated_per_second, settings.unauthenticated_burst);
        let authenticated = Rate::per_second(settings.authenticated_per_second, settings.authenticated_burst);
        Self {
            unauthenticated: RateLimiter::new(unauthenticated, PEERS),
            authenticated: RateLimiter::new(authenticated, PEERS),
        }
    }

    /// Counts a call without an identity.
    pub(crate) fn unauthenticated(&self, peer: IpAddr) -> Result<(), RateLimited> {
        self.unauthenticated.check(peer.into(), Instant::now()).map(|_| ())
    }

    /// Counts a call with an identity.
    pub(crate) fn authenticated(&self, peer: &SpiffeId) -> Result<(), RateLimited> {
        self.authenticated.check(peer.clone(), Instant::now()).map(|_| ())
    }
}
