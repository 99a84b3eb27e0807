//! Finds records: by id, by the client's address and time, by trace.

use super::target::Peer;
use avouch_api::observe::v1::{Connection, Decision, Record, Status};
use avouch_fleet::{Fleet, Member};
use avouch_time::parse_rfc3339;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// A client behind NAT has another port at the server, so only host and time can be compared; attempts this far apart
/// are different ones.
const NEAR: Duration = Duration::from_secs(60);

/// The process whose record it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holder<'a> {
    Issuer,
    Member(&'a Member),
}

/// A record and who has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a, R> {
    pub(super) holder: Holder<'a>,
    pub(super) record: &'a R,
}

impl<'a> Holder<'a> {
    pub(super) fn status(self, fleet: &'a Fleet) -> Option<&'a Status> {
        match self {
            Self::Issuer => fleet.issuer.as_ref()?.process.as_ref(),
            Self::Member(member) => member.status.as_ref(),
        }
    }

    /// Its SPIFFE ID: the one that it was asked as, rather than what it says of itself.
    pub(super) fn id(self, fleet: &'a Fleet) -> &'a str {
        match self {
            Self::Member(member) if !member.workload.spiffe_id.is_empty() => &member.workload.spiffe_id,
            _ => self.status(fleet).map(|status| status.spiffe_id.as_str()).unwrap_or_default(),
        }
    }

    fn is(self, other: Holder<'_>) -> bool {
        match (self, other) {
            (Self::Issuer, Holder::Issuer) => true,
            (Self::Member(one), Holder::Member(other)) => std::ptr::eq(one, other),
            _ => false,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Issuer => "the issuer".to_owned(),
            Self::Member(member) => member.name(),
        }
    }
}

fn all<'a>(fleet: &'a Fleet) -> impl Iterator<Item = Held<'a, Record>> {
    let of_issuer = fleet.issuer_records.iter().map(|record| Held { holder: Holder::Issuer, record });
    let of_members = fleet.members.iter().flat_map(|member| {
        member.records.iter().map(move |record| Held { holder: Holder::Member(member), record })
    });
    of_issuer.chain(of_members)
}

fn all_decisions<'a>(fleet: &'a Fleet) -> impl Iterator<Item = Held<'a, Decision>> {
    all(fleet).filter_map(|held| Some(Held { holder: held.holder, record: held.record.decision.as_ref()? }))
}

fn all_connections<'a>(fleet: &'a Fleet) -> impl Iterator<Item = Held<'a, Connection>> {
    all(fleet).filter_map(|held| Some(Held { holder: held.holder, record: held.record.connection.as_ref()? }))
}

pub(super) fn decisions<'a>(fleet: &'a Fleet, id: &str) -> Vec<Held<'a, Decision>> {
    all_decisions(fleet).filter(|held| held.record.id == id).collect()
}

pub(super) fn connections<'a>(fleet: &'a Fleet, id: &str) -> Vec<Held<'a, Connection>> {
    all_connections(fleet).filter(|held| held.record.id == id).collect()
}

/// The connection that a call came over, as the process has it that decided about the call.
pub(super) fn under<'a>(fleet: &'a Fleet, decision: &Held<'a, Decision>) -> Option<&'a Connection> {
    let mut found = all_connections(fleet).filter(|held| held.holder.is(decision.holder));
    let id = &decision.record.connection_id;
    found.find(|held| !id.is_empty() && held.record.id == *id).map(|held| held.record)
}

/// The decisions about calls over a connection, in order.
pub(super) fn over<'a>(fleet: &'a Fleet, connection: &Held<'a, Connection>) -> Vec<&'a Decision> {
    let of_it = all_decisions(fleet).filter(|held| {
        held.holder.is(connection.holder)
            && !held.record.id.is_empty()
            && held.record.connection_id == connection.record.id
    });
    of_it.map(|held| held.record).collect()
}

/// The decisions of a trace, in the order of their times.
pub(super) fn traced<'a>(fleet: &'a Fleet, trace_id: &str) -> Vec<Held<'a, Decision>> {
    if trace_id.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<_> = all_decisions(fleet).filter(|held| held.record.trace_id == trace_id).collect();
    found.sort_by(|one, other| {
        let at = |held: &Held<'_, Decision>| parse_rfc3339(&held.record.time);
        at(one).cmp(&at(other))
    });
    found
}

/// The connection that a client means by its own end of it, and what else it could be, nearest in time first.
pub(super) fn of_peer<'a>(
    fleet: &'a Fleet,
    peer: &Peer,
) -> Option<(Held<'a, Connection>, Vec<Held<'a, Connection>>)> {
    let exact = |held: &Held<'_, Connection>| address(held.record) == Some(canonical(peer.address));
    let mut found: Vec<_> = all_connections(fleet).filter(exact).collect();
    if found.is_empty() {
        found = all_connections(fleet).filter(|held| may_be(held.record, peer)).collect();
    }
    found.sort_by_key(|held| distance(held.record, peer.at));
    if found.is_empty() {
        return None;
    }
    let nearest = found.remove(0);
    Some((nearest, found))
}

fn may_be(connection: &Connection, peer: &Peer) -> bool {
    let Some(at) = peer.at else { return false };
    // On a loopback everybody is the same host.
    let same_host = !canonical(peer.address).ip().is_loopback()
        && address(connection).is_some_and(|address| address.ip() == canonical(peer.address).ip());
    same_host && connection.verdict == "refused" && apart(connection, at).is_some_and(|apart| apart <= NEAR)
}

/// The sort key of candidates: nearest in time first, then refused before accepted, then the latest.
fn distance(
    connection: &Connection,
    at: Option<SystemTime>,
) -> (Duration, bool, std::cmp::Reverse<Option<SystemTime>>) {
    let accepted = connection.verdict != "refused";
    let latest = std::cmp::Reverse(parse_rfc3339(&connection.time));
    match at {
        Some(at) => (apart(connection, at).unwrap_or(Duration::MAX), accepted, latest),
        None => (Duration::ZERO, accepted, latest),
    }
}

fn apart(connection: &Connection, at: SystemTime) -> Option<Duration> {
    let time = parse_rfc3339(&connection.time)?;
    Some(time.duration_since(at).unwrap_or_else(|behind| behind.duration()))
}

/// The peer's address in a record; an IPv4-mapped IPv6 address equals the IPv4 address.
pub(super) fn address(connection: &Connection) -> Option<SocketAddr> {
    crate::upstream::address(&connection.peer_address)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
