//! What the processes know of a revoked identity: whom it called, who called it, which of its connections were closed, and
//! whether anybody has accepted one since.

use crate::upstream;
use avouch_api::observe::v1::{Connection, Status};
use avouch_fleet::{Fleet, Member};
use avouch_spiffe::{Reason, SpiffeId};
use avouch_text::shorten;
use avouch_time::parse_rfc3339;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// What was revoked.
#[derive(Debug)]
pub(super) struct Cut {
    /// The owner; empty: not known.
    pub(super) spiffe_id: String,
    /// The serial numbers that are revoked; `None`: all of the identity's.
    pub(super) serials: Option<BTreeSet<String>>,
    /// When it was durable.
    pub(super) since: Option<SystemTime>,
}

/// All that the processes' answers say.
#[derive(Debug)]
pub(super) struct Aftermath {
    pub(super) radius: Radius,
    pub(super) since: Since,
}

/// Whom the revoked identity called, and who called it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Radius {
    pub(super) called: Vec<Party>,
    pub(super) callers: Vec<Party>,
    /// Those whose answers are missing, with the reason.
    pub(super) silent: Vec<String>,
}

/// Somebody at the other end of its calls.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Party {
    spiffe_id: String,
    methods: BTreeSet<String>,
    /// Calls that were allowed.
    calls: u64,
    /// Whether this is known from its configuration only.
    configured: bool,
}

/// The connections of what was revoked.
#[derive(Debug, Default, Serialize)]
pub(super) struct Since {
    /// How many processes have told.
    pub(super) asked: usize,
    /// How many were closed because of the revocation.
    pub(super) closed: usize,
    /// Accepted since, and not closed.
    pub(super) accepted: Vec<Accepted>,
    /// Accepted since by a server that had not heard of it, and closed when it had.
    pub(super) ended: Vec<Accepted>,
}

/// A connection that was accepted after the revocation.
#[derive(Debug, Serialize)]
pub(super) struct Accepted {
    by: String,
    #[serde(flatten)]
    connection: Connection,
}

impl Cut {
    /// What the processes' records are asked for by.
    pub(super) fn about(&self) -> String {
        let serial = || self.serials.iter().flatten().next().cloned().unwrap_or_default();
        if self.spiffe_id.is_empty() { serial() } else { self.spiffe_id.clone() }
    }

    /// The SPIFFE ID of runs of this program, in the trust domain of what was revoked.
    pub(super) fn operator(&self) -> String {
        let id = self.spiffe_id.parse::<SpiffeId>();
        id.map(|id| format!("spiffe://{}/operator", id.trust_domain())).unwrap_or_default()
    }

    fn is_hit(&self, connection: &Connection) -> bool {
        match &self.serials {
            Some(serials) => serials.contains(&connection.peer_serial.to_ascii_lowercase()),
            None => connection.peer_id == self.spiffe_id,
        }
    }
}

impl Aftermath {
    pub(super) fn of(fleet: &Fleet, cut: &Cut) -> Self {
        Self { radius: Radius::of(fleet, cut), since: Since::of(fleet, cut) }
    }
}

impl Radius {
    fn of(fleet: &Fleet, cut: &Cut) -> Self {
        let mut called = BTreeMap::new();
        let mut callers = BTreeMap::new();
        for member in &fleet.members {
            let own = member.workload.spiffe_id == cut.spiffe_id;
            for edge in &member.edges {
                if own {
                    add(&mut callers, &edge.peer_id, &edge.method, edge.allowed);
                } else if edge.peer_id == cut.spiffe_id {
                    add(&mut called, &member.workload.spiffe_id, &edge.method, edge.allowed);
                }
            }
            // A revoked identity cannot be asked any more who called it: those who are configured to know it.
            let upstreams = member.status.iter().flat_map(|status| &status.upstreams);
            for other in upstreams {
                if own {
                    configured(&mut called, &other.spiffe_id);
                } else if other.spiffe_id == cut.spiffe_id {
                    configured(&mut callers, &member.workload.spiffe_id);
                }
            }
        }
        Self {
            called: called.into_values().collect(),
            callers: callers.into_values().collect(),
            silent: fleet.silences(),
        }
    }
}

fn add(parties: &mut BTreeMap<String, Party>, id: &str, method: &str, calls: u64) {
    let party = configured(parties, id);
    party.methods.insert(method.to_owned());
    party.calls = party.calls.saturating_add(calls);
    party.configured = false;
}

fn configured<'a>(parties: &'a mut BTreeMap<String, Party>, id: &str) -> &'a mut Party {
    let new = || Party { spiffe_id: id.to_owned(), methods: BTreeSet::new(), calls: 0, configured: true };
    parties.entry(id.to_owned()).or_insert_with(new)
}

impl Party {
    pub(super) fn to_text(&self) -> String {
        let id = shorten(&self.spiffe_id);
        if self.configured {
            return format!("{id} (as its configuration says)");
        }
        let methods: Vec<_> =
            self.methods.iter().map(|method| shorten(method.trim_start_matches('/'))).collect();
        format!("{id}: {} calls of {}", self.calls, methods.join(", "))
    }
}

impl Since {
    fn of(fleet: &Fleet, cut: &Cut) -> Self {
        let mut found = Self::default();
        let issuer = fleet.issuer.as_ref().and_then(|issuer| issuer.process.as_ref());
        if let Some(status) = issuer {
            let connections = fleet.issuer_records.iter().filter_map(|record| record.connection.as_ref());
            found.judge("the issuer", status, connections, cut);
        }
        for member in &fleet.members {
            let Some(status) = &member.status else { continue };
            let connections = member.records.iter().filter_map(|record| record.connection.as_ref());
            found.judge(&Member::name(member), status, connections, cut);
        }
        found
    }

    fn judge<'a>(
        &mut self,
        by: &str,
        status: &Status,
        connections: impl Iterator<Item = &'a Connection>,
        cut: &Cut,
    ) {
        self.asked += 1;
        for connection in connections.filter(|one| one.verdict == "accepted" && cut.is_hit(one)) {
            let closed = is_closed(connection);
            self.closed += usize::from(closed);
            if !is_since(connection, status, cut) {
                continue;
            }
            let accepted = Accepted { by: by.to_owned(), connection: connection.clone() };
            match closed || !connection.ended_at.is_empty() {
                true => self.ended.push(accepted),
                false => self.accepted.push(accepted),
            }
        }
    }
}

/// Whether it was closed because of a revocation.
fn is_closed(connection: &Connection) -> bool {
    let reason = connection.end_reason.as_str();
    [Reason::IdentityRevoked, Reason::CertRevoked].iter().any(|revoked| revoked.as_str() == reason)
}

/// Whether it was accepted after the revocation, by the issuer's clock.
fn is_since(connection: &Connection, status: &Status, cut: &Cut) -> bool {
    let ahead = Duration::from_millis(status.clock_ahead_millis.unsigned_abs());
    let at = parse_rfc3339(&connection.time).and_then(|at| match status.clock_ahead_millis {
        0.. => at.checked_sub(ahead),
        _ => at.checked_add(ahead),
    });
    at.zip(cut.since).is_some_and(|(at, since)| at > since)
}

impl Accepted {
    pub(super) fn to_text(&self) -> String {
        let Connection { id, time, peer_address, peer_serial, .. } = &self.connection;
        let from = upstream::address(peer_address).map_or_else(|| shorten(peer_address), |at| at.to_string());
        format!(
            "{} from {from} with {} at {} by {}",
            shorten(id),
            shorten(peer_serial),
            shorten(time),
            shorten(&self.by)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet_sample as sample;
    use avouch_api::observe::v1::{Record, Upstream};

    fn cut(serials: Option<&[&str]>) -> Cut {
        Cut {
            spiffe_id: sample::id("dev"),
            serials: serials.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
            since: parse_rfc3339("2027-01-15T08:00:01Z"),
        }
    }

    fn since(fleet: &Fleet, cut: &Cut) -> (usize, usize, usize) {
        let found = Aftermath::of(fleet, cut).since;
        (found.accepted.len(), found.ended.len(), found.closed)
    }

    fn connection(fleet: &mut Fleet) -> &mut Connection {
        let record = fleet.members[2].records.first_mut().unwrap();
        record.connection.as_mut().unwrap()
    }

    #[test]
    fn the_radius_is_whom_it_called_and_who_called_it() {
        let mut fleet = sample::fleet();
        let name = "dev".to_owned();
        let upstream = Upstream { name, spiffe_id: sample::id("dev"), ..Upstream::default() };
        fleet.members[1].status.as_mut().unwrap().upstreams = vec![upstream];
        let radius = Aftermath::of(&fleet, &cut(None)).radius;
        assert_eq!(radius.called.len(), 1);
        assert_eq!(
            radius.called[0].to_text(),
            format!("{}: 0 calls of market.orders.v1.Orders/Place", sample::id("orders"))
        );
        assert_eq!(
            radius.callers[0].to_text(),
            format!("{} (as its configuration says)", sample::id("ledger"))
        );
        assert!(radius.silent[0].starts_with("dark at "), "{:?}", radius.silent);
        let orders = Cut { spiffe_id: sample::id("orders"), ..cut(None) };
        let radius = Aftermath::of(&fleet, &orders).radius;
        let callers: Vec<_> =
            radius.callers.iter().map(|party| (party.spiffe_id.as_str(), party.calls)).collect();
        assert_eq!(callers, [(sample::id("dev").as_str(), 0), (sample::id("storefront").as_str(), 1_200)]);
    }

    #[test]
    fn a_connection_that_was_accepted_since_is_named_unless_it_was_ended() {
        let mut fleet = sample::fleet();
        assert_eq!(since(&fleet, &cut(None)), (1, 0, 0));
        assert_eq!(since(&fleet, &cut(Some(&["0a1b"]))), (1, 0, 0));
        assert_eq!(
            since(&fleet, &cut(Some(&["0a1c"]))),
            (0, 0, 0),
            "another certificate of the same identity"
        );
        let later = Cut { since: parse_rfc3339("2027-01-15T08:00:02Z"), ..cut(None) };
        assert_eq!(since(&fleet, &later), (0, 0, 0), "it was there before");
        connection(&mut fleet).ended_at = "2027-01-15T08:00:03Z".to_owned();
        connection(&mut fleet).end_reason = "IDENTITY_REVOKED".to_owned();
        assert_eq!(since(&fleet, &cut(None)), (0, 1, 1));
        assert_eq!(since(&fleet, &later), (0, 0, 1));
        connection(&mut fleet).verdict = "refused".to_owned();
        assert_eq!(since(&fleet, &cut(None)), (0, 0, 0));
    }

    #[test]
    fn times_are_compared_by_the_issuers_clock() {
        let mut fleet = sample::fleet();
        let record = Record { connection: Some(connection(&mut fleet).clone()), decision: None };
        fleet.members[2].records = vec![record];
        fleet.members[2].status.as_mut().unwrap().clock_ahead_millis = 2_000;
        assert_eq!(since(&fleet, &cut(None)), (0, 0, 0), "by the issuer's clock it was accepted before");
        let later = Cut { since: parse_rfc3339("2027-01-15T08:00:03Z"), ..cut(None) };
        fleet.members[2].status.as_mut().unwrap().clock_ahead_millis = -2_000;
        assert_eq!(since(&fleet, &later), (1, 0, 0));
    }
}
