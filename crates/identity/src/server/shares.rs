//! The shares of a listener: connections, calls, streams and buffered bytes, by identity and source network (ADR 7).
//!
//! Replicas of a service share an identity, and one of them may rightly hold most of a resource. So a share binds only
//! when all of it is in use. Then newcomers of the top holder are rejected or denied: of the identity that holds the
//! most, the network that holds the most of it. Everybody else finds room. A connection of somebody else displaces an
//! idle connection of the top holder, which is asked to go away; where none is idle, its oldest one, whose calls finish
//! within the retirement grace. A call, a stream or a buffer cannot be taken back, so those may exceed the limit, up to
//! twice.
//!
//! A call costs three additions on its way in and three on its way out. The table is locked when connections open and
//! close, and to find the top holder when a limit is reached: a walk over its groups, of which there are at most as many
//! as connections.

mod exceeded;
mod group;
mod resource;
mod table;
mod usage;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avouch_limits::Network;
use avouch_spiffe::SpiffeId;

pub use self::exceeded::ShareExceeded;
use self::group::{Group, Member};
use self::resource::Counters;
pub use self::resource::Resource;
use self::table::{Displaced, Table};
pub use self::usage::{Holder, Usage};
use super::options::ServerOptions;
use crate::connection_shutdown::ConnectionShutdown;

/// The number of displaced connections that may finish their calls, or an eighth of all if that is more; further ones are
/// closed at once, so that connections that are opened and displaced quickly do not add up to twice the limit.
const MAY_LEAVE: u64 = 16;

/// The shares of one listener; clones share them.
#[derive(Clone, Debug)]
pub struct Shares(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: [u64; Resource::ALL.len()],
    used: Counters,
    refused: Counters,
    /// Connections that have lost their place and are not gone yet.
    leaving: AtomicU64,
    table: Mutex<Table>,
}

impl Shares {
    pub(super) fn new(options: &ServerOptions) -> Self {
        let limits = [
            options.max_connections as u64,
            options.max_calls as u64,
            options.max_streams as u64,
            options.max_buffered_bytes,
        ];
        let (used, refused) = (Counters::default(), Counters::default());
        let leaving = AtomicU64::new(0);
        Self(Arc::new(Inner { limits, used, refused, leaving, table: Mutex::default() }))
    }

    /// The usage of each resource, with its `most` top holders.
    #[must_use]
    pub fn usage(&self, most: usize) -> Vec<Usage> {
        let table = self.0.table();
        Resource::ALL
            .into_iter()
            .map(|resource| Usage {
                resource,
                used: self.0.used.get(resource),
                limit: self.0.limit(resource),
                refused: self.0.refused.get(resource),
                holders: table.holders(resource, most),
            })
            .collect()
    }

    /// Displaces a connection of the top holder because something else has run out; says whose network it was.
    pub(super) fn make_room(&self) -> Option<Network> {
        let mut table = self.0.table();
        let (displaced, network) = table.displace_top()?;
        let used = self.0.used.get(Resource::Connections);
        self.0.used.sub(Resource::Connections, 1);
        drop(table);
        self.0.let_go(displaced, used);
        Some(network)
    }

    /// Takes the share of a connection whose handshake is over.
    ///
    /// # Errors
    /// When all connections are in use and the newcomer holds most of them.
    pub(super) fn open(
        &self,
        spiffe_id: Option<&SpiffeId>,
        network: Network,
        shutdown: &Arc<ConnectionShutdown>,
    ) -> Result<ConnectionShare, ShareExceeded> {
        let inner = &self.0;
        let mut table = inner.table();
        let limit = inner.limit(Resource::Connections);
        let used = inner.used.get(Resource::Connections);
        let displaced = if used < limit {
            None
        } else if let Some(displaced) = table.displace(spiffe_id, network) {
            inner.used.sub(Resource::Connections, 1);
            Some(displaced)
        } else {
            let exceeded = table.exceeded(Resource::Connections, used, limit, spiffe_id, network);
            drop(table);
            inner.refused.add(Resource::Connections, 1);
            return Err(exceeded);
        };
        let member = Arc::new(Member { shutdown: shutdown.clone(), under_way: AtomicU64::new(0) });
        let (group, number) = table.insert(spiffe_id, network, member.clone());
        inner.used.add(Resource::Connections, 1);
        drop(table);
        if let Some(displaced) = displaced {
            inner.let_go(displaced, used);
        }
        Ok(ConnectionShare {
            shares: self.clone(),
            member,
            group,
            number,
            spiffe_id: spiffe_id.cloned(),
            network,
        })
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a displaced connection to go. It may finish its calls, unless many are leaving already: then it goes at
    /// once, so that connections that are opened and closed quickly do not let somebody else hold twice the limit.
    fn let_go(&self, displaced: Displaced, used: u64) {
        let limit = self.limit(Resource::Connections);
        let leaving = self.leaving.fetch_add(1, Ordering::Relaxed);
        displaced.go(used, limit, leaving >= (limit / 8).max(MAY_LEAVE));
    }

    fn limit(&self, resource: Resource) -> u64 {
        let [connections, calls, streams, bytes] = self.limits;
        match resource {
            Resource::Connections => connections,
            Resource::Calls => calls,
            Resource::Streams => streams,
            Resource::Bytes => bytes,
        }
    }
}

/// The share of one connection; given back when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionShare {
    shares: Shares,
    member: Arc<Member>,
    group: Arc<Group>,
    number: u64,
    spiffe_id: Option<SpiffeId>,
    network: Network,
}

impl ConnectionShare {
    /// Takes the share of a call that begins.
    ///
    /// # Errors
    /// When there is no share.
    pub(super) fn call(&self) -> Result<(), ShareExceeded> {
        self.take(Resource::Calls, 1)?;
        self.member.under_way.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back the share of a call that has not become a stream.
    pub(super) fn call_ended(&self) {
        self.give(Resource::Calls, 1);
        self.member.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Exchanges the share of a call for that of a stream; on an error it stays a call.
    ///
    /// # Errors
    /// When there is no share.
    pub(super) fn stream(&self) -> Result<(), ShareExceeded> {
        self.take(Resource::Streams, 1)?;
        self.give(Resource::Calls, 1);
        Ok(())
    }

    /// Gives back the share of a stream.
    pub(super) fn stream_ended(&self) {
        self.give(Resource::Streams, 1);
        self.member.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.member.under_way.load(Ordering::Relaxed) == 0
    }

    /// Takes the share of `bytes` more that are held for the peer.
    ///
    /// # Errors
    /// When there is no share; nothing is taken then.
    pub(super) fn hold(&self, bytes: u64) -> Result<(), ShareExceeded> {
        self.take(Resource::Bytes, bytes)
    }

    /// Gives back the share of `bytes`.
    pub(super) fn release(&self, bytes: u64) {
        self.give(Resource::Bytes, bytes);
    }

    fn take(&self, resource: Resource, amount: u64) -> Result<(), ShareExceeded> {
        self.group.held.add(resource, amount);
        let inner = &self.shares.0;
        let used = inner.used.add(resource, amount);
        if used > inner.limit(resource) { self.beyond(resource, amount, used) } else { Ok(()) }
    }

    fn give(&self, resource: Resource, amount: u64) {
        self.group.held.sub(resource, amount);
        self.shares.0.used.sub(resource, amount);
    }

    /// Decides beyond the limit: the top holder gets nothing more, and others as far as twice the limit.
    #[cold]
    fn beyond(&self, resource: Resource, amount: u64, used: u64) -> Result<(), ShareExceeded> {
        let inner = &self.shares.0;
        let limit = inner.limit(resource);
        let table = inner.table();
        let (id, network) = (self.spiffe_id.as_ref(), self.network);
        if used <= limit.saturating_mul(2) && !table.is_top(resource, id, network) {
            return Ok(());
        }
        let used = used.saturating_sub(amount);
        // `take` has added `amount` already, so that concurrent callers see each other: it is given back.
        self.give(resource, amount);
        let exceeded = table.exceeded(resource, used, limit, id, network);
        drop(table);
        inner.refused.add(resource, 1);
        Err(exceeded)
    }
}

impl Drop for ConnectionShare {
    fn drop(&mut self) {
        let inner = &self.shares.0;
        if inner.table().remove(self.spiffe_id.as_ref(), self.network, self.number) {
            inner.used.sub(Resource::Connections, 1);
        } else {
            // It was displaced, and its connection is gone only now.
            inner.leaving.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
