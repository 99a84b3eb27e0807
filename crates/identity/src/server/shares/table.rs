//! The table behind the shares: groups of connections by identity and network.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use avouch_limits::Network;
use avouch_spiffe::{Reason, SpiffeId};

use super::exceeded::ShareExceeded;
use super::group::{Group, Member};
use super::resource::Resource;
use super::usage::Holder;

/// The groups of a listener; `None` stands for callers without an identity.
#[derive(Debug, Default)]
pub(super) struct Table {
    next: u64,
    identities: HashMap<Option<SpiffeId>, HashMap<Network, Connections>>,
}

/// The connections of one identity from one network, oldest first.
#[derive(Debug, Default)]
struct Connections {
    group: Arc<Group>,
    members: BTreeMap<u64, Arc<Member>>,
}

impl Connections {
    fn held(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Connections => self.members.len() as u64,
            other => self.group.held.get(other),
        }
    }
}

/// The top holder of a resource.
struct Top<'a> {
    spiffe_id: &'a Option<SpiffeId>,
    by_identity: u64,
    network: Network,
    by_network: u64,
}

/// A connection that was displaced by another.
#[derive(Debug)]
pub(super) struct Displaced {
    member: Arc<Member>,
    held: u64,
}

impl Displaced {
    /// Asks it to go away, or closes it at once.
    pub(super) fn go(self, used: u64, limit: u64, at_once: bool) {
        let held = self.held;
        let detail = format!(
            "{used} of {limit} connections are in use, and its identity holds {held} of them: one of them made room"
        );
        if at_once {
            self.member.shutdown.cut(Reason::HandshakeLimit, detail);
        } else {
            self.member.shutdown.retire_because(Reason::HandshakeLimit, detail);
        }
    }
}

impl Table {
    pub(super) fn insert(
        &mut self,
        spiffe_id: Option<&SpiffeId>,
        network: Network,
        member: Arc<Member>,
    ) -> (Arc<Group>, u64) {
        let number = self.next;
        self.next += 1;
        let networks = self.identities.entry(spiffe_id.cloned()).or_default();
        let connections = networks.entry(network).or_default();
        connections.members.insert(number, member);
        (connections.group.clone(), number)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, spiffe_id: Option<&SpiffeId>, network: Network, number: u64) -> bool {
        let key = spiffe_id.cloned();
        let Some(networks) = self.identities.get_mut(&key) else { return false };
        let Some(connections) = networks.get_mut(&network) else { return false };
        let was_there = connections.members.remove(&number).is_some();
        // A displaced connection still holds calls until it is gone: its group stays, to be counted, as long as it does.
        if connections.members.is_empty() && Arc::strong_count(&connections.group) <= 2 {
            networks.remove(&network);
        }
        if networks.is_empty() {
            self.identities.remove(&key);
        }
        was_there
    }

    /// Takes a connection of the top holder off the table for a newcomer; `None` if the newcomer would then hold as much.
    pub(super) fn displace(&mut self, spiffe_id: Option<&SpiffeId>, network: Network) -> Option<Displaced> {
        let top = self.top(Resource::Connections)?;
        let is_same = top.spiffe_id.as_ref() == spiffe_id;
        // With one more it would be the top holder itself: two that hold the same do not push each other out for ever.
        let (own, most) = if is_same {
            (self.by_network(Resource::Connections, spiffe_id, network), top.by_network)
        } else {
            (self.by_identity(Resource::Connections, spiffe_id), top.by_identity)
        };
        if own + 1 >= most {
            return None;
        }
        self.displace_top().map(|(displaced, _)| displaced)
    }

    /// Takes a connection of the top holder off the table: its oldest idle one, or else its oldest.
    pub(super) fn displace_top(&mut self) -> Option<(Displaced, Network)> {
        let top = self.top(Resource::Connections)?;
        let (key, held, network) = (top.spiffe_id.clone(), top.by_identity, top.network);
        let connections = self.identities.get_mut(&key)?.get_mut(&network)?;
        let idle = |member: &Arc<Member>| member.under_way.load(Ordering::Relaxed) == 0;
        let oldest_idle = connections.members.iter().find(|(_, member)| idle(member));
        let number = *oldest_idle.or_else(|| connections.members.iter().next())?.0;
        let member = connections.members.remove(&number)?;
        Some((Displaced { member, held }, network))
    }

    /// Whether this group holds most of a resource.
    pub(super) fn is_top(&self, resource: Resource, spiffe_id: Option<&SpiffeId>, network: Network) -> bool {
        let Some(top) = self.top(resource) else { return false };
        if top.spiffe_id.as_ref() == spiffe_id {
            self.by_network(resource, spiffe_id, network) >= top.by_network
        } else {
            self.by_identity(resource, spiffe_id) >= top.by_identity
        }
    }

    pub(super) fn exceeded(
        &self,
        resource: Resource,
        used: u64,
        limit: u64,
        spiffe_id: Option<&SpiffeId>,
        network: Network,
    ) -> ShareExceeded {
        ShareExceeded {
            resource,
            used,
            limit,
            spiffe_id: spiffe_id.cloned(),
            network,
            by_identity: self.by_identity(resource, spiffe_id),
            by_network: self.by_network(resource, spiffe_id, network),
        }
    }

    /// The groups that hold most of a resource, the top one first.
    pub(super) fn holders(&self, resource: Resource, most: usize) -> Vec<Holder> {
        let mut holders: Vec<Holder> = self
            .identities
            .iter()
            .flat_map(|(spiffe_id, networks)| {
                networks.iter().map(move |(network, connections)| Holder {
                    spiffe_id: spiffe_id.clone(),
                    network: *network,
                    held: connections.held(resource),
                })
            })
            .filter(|holder| holder.held > 0)
            .collect();
        holders.sort_by(|a, b| {
            let names = || (&a.spiffe_id, a.network).cmp(&(&b.spiffe_id, b.network));
            b.held.cmp(&a.held).then_with(names)
        });
        holders.truncate(most);
        holders
    }

    /// The identity that holds most, and of it the network that does.
    fn top(&self, resource: Resource) -> Option<Top<'_>> {
        let total = |networks: &HashMap<Network, Connections>| -> u64 {
            networks.values().map(|connections| connections.held(resource)).sum()
        };
        let by_identity = self.identities.iter().map(|(id, networks)| (id, networks, total(networks)));
        let (spiffe_id, networks, by_identity) = by_identity.max_by_key(|(.., held)| *held)?;
        let by_network = networks.iter().map(|(network, connections)| (*network, connections.held(resource)));
        let (network, by_network) = by_network.max_by_key(|(_, held)| *held)?;
        Some(Top { spiffe_id, by_identity, network, by_network })
    }

    fn by_identity(&self, resource: Resource, spiffe_id: Option<&SpiffeId>) -> u64 {
        let networks = self.identities.get(&spiffe_id.cloned());
        networks.map_or(0, |networks| networks.values().map(|it| it.held(resource)).sum())
    }

    fn by_network(&self, resource: Resource, spiffe_id: Option<&SpiffeId>, network: Network) -> u64 {
        let networks = self.identities.get(&spiffe_id.cloned());
        networks.and_then(|networks| networks.get(&network)).map_or(0, |it| it.held(resource))
    }
}
