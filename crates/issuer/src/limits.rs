//! How often a peer may ask: per source network without an identity, per SPIFFE ID with one.
//!
//! Memory is bounded: beyond a number of peers, idle ones are forgotten, and if all are busy the rest share one bucket.

use crate::config::RateLimitSettings;
use avouch_spiffe::{Network, SpiffeId};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Peers that are told apart.
const PEERS: usize = 16_384;
/// Between two sweeps of idle peers, which cost a walk over all.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A peer asked too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of one peer; the next one is welcome in {} ms", retry_after.as_millis())]
pub struct RateLimited {
    /// When the next request has a chance.
    pub retry_after: Duration,
}

/// The limits of an issuer.
#[derive(Debug)]
pub(crate) struct Limits {
    unauthenticated: PerPeer<Network>,
    authenticated: PerPeer<SpiffeId>,
}

impl Limits {
    /// Limits as configured.
    pub(crate) fn new(settings: &RateLimitSettings) -> Self {
        Self {
            unauthenticated: PerPeer::new(
                settings.unauthenticated_per_second,
                settings.unauthenticated_burst,
                PEERS,
                DefaultClock::default(),
            ),
            authenticated: PerPeer::new(
                settings.authenticated_per_second,
                settings.authenticated_burst,
                PEERS,
                DefaultClock::default(),
            ),
        }
    }

    /// Counts a call without an identity.
    pub(crate) fn unauthenticated(&self, peer: IpAddr) -> Result<(), RateLimited> {
        self.unauthenticated.check(&peer.into())
    }

    /// Counts a call with one.
    pub(crate) fn authenticated(&self, peer: &SpiffeId) -> Result<(), RateLimited> {
        self.authenticated.check(peer)
    }
}

type Middleware<C> = NoOpMiddleware<<C as Clock>::Instant>;

#[derive(Debug)]
struct PerPeer<K: Hash + Eq + Clone, C: Clock + Clone = DefaultClock> {
    peers: RateLimiter<K, DashMapStateStore<K>, C, Middleware<C>>,
    the_rest: RateLimiter<NotKeyed, InMemoryState, C, Middleware<C>>,
    clock: C,
    capacity: usize,
    swept: Mutex<Option<Instant>>,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> PerPeer<K, C> {
    fn new(per_second: NonZeroU32, burst: NonZeroU32, capacity: usize, clock: C) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            peers: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            the_rest: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
            capacity,
            swept: Mutex::new(None),
        }
    }

    fn check(&self, peer: &K) -> Result<(), RateLimited> {
        let outcome = if self.has_room() { self.peers.check_key(peer) } else { self.the_rest.check() };
        outcome.map_err(|not_until| RateLimited { retry_after: not_until.wait_time_from(self.clock.now()) })
    }

    fn has_room(&self) -> bool {
        if self.peers.len() < self.capacity {
            return true;
        }
        // Somebody else sweeping, or a sweep just now, is as good as one of ours.
        if let Ok(mut swept) = self.swept.try_lock()
            && swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY)
        {
            self.peers.retain_recent();
            self.peers.shrink_to_fit();
            *swept = Some(Instant::now());
        }
        self.peers.len() < self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn n(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn a_burst_passes_the_next_call_waits_and_others_are_not_affected() {
        let clock = FakeRelativeClock::default();
        let limiter = PerPeer::new(n(2), n(3), 10, clock.clone());
        for _ in 0..3 {
            limiter.check(&1).unwrap();
        }
        let RateLimited { retry_after } = limiter.check(&1).unwrap_err();
        assert!(retry_after <= Duration::from_millis(500) && !retry_after.is_zero(), "{retry_after:?}");
        limiter.check(&2).unwrap();
        clock.advance(retry_after);
        limiter.check(&1).unwrap();
        assert!(limiter.check(&1).is_err());
    }

    #[test]
    fn many_peers_do_not_grow_the_table_and_share_what_is_left() {
        let clock = FakeRelativeClock::default();
        let limiter = PerPeer::new(n(1), n(2), 100, clock.clone());
        let mut refused = 0;
        for peer in 0..10_000 {
            refused += usize::from(limiter.check(&peer).is_err());
        }
        assert!(limiter.peers.len() <= 100, "{}", limiter.peers.len());
        assert_eq!(refused, 10_000 - 100 - 2);
    }

    #[test]
    fn idle_peers_make_room() {
        let clock = FakeRelativeClock::default();
        let limiter = PerPeer::new(n(1), n(1), 10, clock.clone());
        for peer in 0..10 {
            limiter.check(&peer).unwrap();
        }
        clock.advance(Duration::from_secs(5));
        limiter.check(&11).unwrap();
        assert_eq!(limiter.peers.len(), 1);
    }
}
