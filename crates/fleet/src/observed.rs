//! The records of all processes as one list, each with the process that made it.

use crate::fleet::Fleet;
use avouch_api::observe::v1::{Connection, Decision, Record};
use avouch_text::{LONGEST_TEXT, shorten, shorten_to};
use avouch_time::{parse_rfc3339, relative};
use serde::Serialize;
use std::collections::HashSet;

/// The beginning of the methods that this crate asks everybody.
pub const ASKING: &str = "/avouch.observe.v1.Observe/";

/// A record, and who made it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Observed<'a> {
    /// The SPIFFE ID of the process that made it.
    pub by: &'a str,
    /// The address at which that process was asked; empty for the issuer.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub address: &'a str,
    /// The record itself.
    #[serde(flatten)]
    pub record: Recorded<'a>,
}

/// A record of one of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorded<'a> {
    /// A connection, or the attempt at one.
    Connection(&'a Connection),
    /// A decision about a call.
    Decision(&'a Decision),
}

impl<'a> Observed<'a> {
    /// The record of `by`, which was asked at `address`; `None`: it is of a kind that this version does not know.
    #[must_use]
    pub fn new(by: &'a str, address: &'a str, record: &'a Record) -> Option<Self> {
        let record = match record {
            Record { connection: Some(connection), .. } => Recorded::Connection(connection),
            Record { decision: Some(decision), .. } => Recorded::Decision(decision),
            _ => return None,
        };
        Some(Self { by, address, record })
    }

    /// The record's time in RFC 3339, so that the order of texts is the order of times.
    #[must_use]
    pub fn time(&self) -> &'a str {
        match self.record {
            Recorded::Connection(connection) => &connection.time,
            Recorded::Decision(decision) => &decision.time,
        }
    }

    /// Whether something was not allowed, or would not have been; also a connection that was closed for what its peer did.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self.record {
            Recorded::Connection(connection) => {
                connection.verdict != "accepted" || !connection.end_reason.is_empty()
            }
            Recorded::Decision(decision) => decision.verdict != "allowed",
        }
    }

    /// Whether it is an allowed call of a command like those of this program, which would bury the rest.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        match self.record {
            Recorded::Decision(decision) => !self.is_denied() && decision.method.starts_with(ASKING),
            Recorded::Connection(_) => false,
        }
    }

    /// The process, the id of the connection, and whether this is the connection's own record.
    fn connection(&self) -> (&'a str, &'a str, bool) {
        match self.record {
            Recorded::Connection(connection) => (self.by, &connection.id, true),
            Recorded::Decision(decision) => (self.by, &decision.connection_id, false),
        }
    }

    /// Whether it is about this: an id of a record, a trace, a serial, a SPIFFE ID or an address, with or without port.
    #[must_use]
    pub fn is_about(&self, what: &str) -> bool {
        let same = |text: &str| !text.is_empty() && text.eq_ignore_ascii_case(what);
        match self.record {
            Recorded::Connection(connection) => {
                let Connection {
                    id, peer_id, peer_serial, peer_authority, peer_address, local_address, ..
                } = connection;
                [id, peer_id, peer_authority].into_iter().any(|text| same(text))
                    || is_serial(peer_serial, what)
                    || is_at(peer_address, what)
                    || is_at(local_address, what)
            }
            Recorded::Decision(decision) => {
                let Decision { id, peer, trace_id, connection_id, method, .. } = decision;
                [id, peer, trace_id, connection_id, method].into_iter().any(|text| same(text))
            }
        }
    }
}

/// Whether `serial` is what was asked for, as people write serials: in either case, with colons or without.
#[must_use]
pub fn is_serial(serial: &str, what: &str) -> bool {
    !serial.is_empty() && serial.eq_ignore_ascii_case(&what.replace(':', ""))
}

/// Whether `address` is what was asked for: with the port if that has one.
#[must_use]
pub fn is_at(address: &str, what: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    !bare.is_empty() && (address.eq_ignore_ascii_case(what) || host == what || bare == what)
}

impl Fleet {
    /// Everybody's records, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<Observed<'_>> {
        let issuer = self.issuer_id();
        let own = self.issuer_records.iter().filter_map(|record| Observed::new(issuer, "", record));
        let theirs = self.members.iter().flat_map(|member| {
            let of = |record| Observed::new(&member.workload.spiffe_id, &member.address, record);
            member.records.iter().filter_map(of)
        });
        let mut all: Vec<_> = own.chain(theirs).collect();
        all.sort_by_key(Observed::time); // stable: each one's own order stays
        all
    }

    /// The records that carry `what`, the calls that came over their connections, and the connections of their calls.
    #[must_use]
    pub fn records_about(&self, what: &str) -> Vec<Observed<'_>> {
        let mut all = self.records();
        let found: HashSet<_> =
            all.iter().filter(|record| record.is_about(what)).map(Observed::connection).collect();
        all.retain(|record| {
            let (by, id, is_connection) = record.connection();
            let related = !id.is_empty() && found.contains(&(by, id, !is_connection));
            record.is_about(what) || (related && !record.is_asking())
        });
        all
    }

    /// The issuer's SPIFFE ID, or a word in its place.
    #[must_use]
    pub fn issuer_id(&self) -> &str {
        let process = self.issuer.as_ref().and_then(|issuer| issuer.process.as_ref());
        process.map(|process| process.spiffe_id.as_str()).filter(|id| !id.is_empty()).unwrap_or("issuer")
    }

    /// A SPIFFE ID as people say it: without the trust domain, where it is this fleet's.
    #[must_use]
    pub fn short<'a>(&self, id: &'a str) -> &'a str {
        id.strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(self.trust_domain.as_str()))
            .and_then(|path| path.strip_prefix('/'))
            .filter(|_| !self.trust_domain.is_empty())
            .unwrap_or(id)
    }

    /// The answers that are missing, one line for each process that is silent.
    #[must_use]
    pub fn silences(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let now = parse_rfc3339(&self.taken_at);
        if !self.issuer_problem.is_empty() {
            lines.push(format!("the issuer is not heard: {}", said(&self.issuer_problem)));
        }
        if !self.operator_problem.is_empty() {
            lines.push(format!("no workload is asked: {}", said(&self.operator_problem)));
        }
        for member in &self.members {
            // Said once for all of them above.
            if !member.problem.is_empty() && member.problem != self.operator_problem {
                let (id, at) = (shorten(self.short(&member.workload.spiffe_id)), shorten(&member.address));
                let heard = match parse_rfc3339(&member.workload.seen_at).zip(now) {
                    Some((seen, now)) => {
                        format!(" (the issuer last heard it {})", relative(seen.min(now), now))
                    }
                    None => String::new(),
                };
                lines.push(format!("{id} at {at} is not heard{heard}: {}", said(&member.problem)));
            }
        }
        lines
    }

    /// Whether anybody has answered at all.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.issuer.is_some() || self.members.iter().any(|member| member.status.is_some())
    }
}

/// A problem, on one line; of a dump anybody may have written it.
fn said(problem: &str) -> String {
    shorten_to(problem, LONGEST_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Member;
    use crate::sample;

    #[test]
    fn records_of_everybody_are_in_the_order_of_time() {
        let fleet = sample::fleet();
        let records = fleet.records();
        assert!(records.is_sorted_by_key(Observed::time));
        let by: Vec<_> = records.iter().map(|record| fleet.short(record.by)).collect();
        assert_eq!(by, ["ledger", "orders", "orders", "avouch/issuer", "orders", "ledger", "ledger"]);
    }

    #[test]
    fn a_record_is_about_its_ids_its_peer_and_its_addresses() {
        let fleet = sample::fleet();
        let count = |what: &str| fleet.records().iter().filter(|record| record.is_about(what)).count();
        for (what, expected) in [
            (sample::TRACE, 2),
            ("0A1B", 1),
            ("spiffe://market.example/dev", 3),
            ("127.0.0.1:50001", 1),
            ("127.0.0.1", 3),
            ("127.0.0.1:5000", 0),
            ("d-0000000000000001", 1),
            ("conn-0000000000000001", 2),
            ("", 0),
            ("nothing", 0),
        ] {
            assert_eq!(count(what), expected, "{what}");
        }
        assert!(
            is_at("[::1]:80", "::1") && is_at("[::1]:80", "[::1]") && !is_at("", "") && !is_at(":80", "")
        );
    }

    #[test]
    fn serials_are_the_same_with_colons_and_in_either_case() {
        assert!(is_serial("0a1b", "0A:1B") && !is_serial("", ":") && !is_serial("0a1b", "0a1"));
    }

    #[test]
    fn who_asks_as_this_program_does_is_told_apart_unless_refused() {
        let asking = |method: &str, verdict: &str| {
            let decision =
                Decision { verdict: verdict.to_owned(), method: method.to_owned(), ..Decision::default() };
            let record = Record { decision: Some(decision), connection: None };
            Observed::new("", "", &record).is_some_and(|observed| observed.is_asking())
        };
        let method = format!("{ASKING}ListEdges");
        assert!(asking(&method, "allowed") && !asking(&method, "refused") && !asking("/a.B/C", "allowed"));
    }

    #[test]
    fn calls_go_with_their_connections_and_connections_with_their_calls() {
        let fleet = sample::fleet();
        let times = |what: &str| -> Vec<String> {
            fleet.records_about(what).iter().map(|record| record.time()[17..19].to_owned()).collect()
        };
        assert_eq!(times("127.0.0.1:50001"), ["02", "03"]);
        assert_eq!(times(sample::TRACE), ["02", "03", "06"]);
        assert_eq!(times("d-0000000000000002"), ["06"], "its connection is not known");
        assert_eq!(times("127.0.0.1:50003"), ["01"], "nor is a call's that names none");
    }

    #[test]
    fn names_are_short_in_their_own_trust_domain_only() {
        let mut fleet = sample::fleet();
        assert_eq!(fleet.short("spiffe://market.example/a/b"), "a/b");
        for id in [
            "spiffe://market.example.evil/a",
            "spiffe://other.example/a",
            "anonymous",
            "spiffe://market.example",
        ] {
            assert_eq!(fleet.short(id), id);
        }
        fleet.trust_domain.clear();
        assert_eq!(fleet.short("spiffe:///a"), "spiffe:///a");
    }

    #[test]
    fn each_silence_is_one_line_and_a_common_cause_is_said_once() {
        let mut fleet = sample::fleet();
        assert_eq!(
            fleet.silences(),
            [
                "dark at 127.0.0.1:7003 is not heard (the issuer last heard it 10m ago): PEER_CONNECTION_CLOSED: cannot connect"
            ]
        );
        fleet.operator_problem = "not registered".to_owned();
        let silent = Member { problem: "not registered".to_owned(), ..Member::default() };
        fleet.members = vec![silent.clone(), silent];
        fleet.issuer_problem = "gone".to_owned();
        assert_eq!(
            fleet.silences(),
            ["the issuer is not heard: gone", "no workload is asked: not registered"]
        );
    }
}
