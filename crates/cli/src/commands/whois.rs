//! `avouch whois`: what all processes know of an address, a certificate, an identity or a trace.
//!
//! The text is searched for in everything: entries, certificates, workloads and records that carry it are shown.

use super::{exit_code, warn_of_silences};
use crate::commands::record;
use crate::error::CliError;
use crate::output::{self, Output, Text};
use crate::sources::Sources;
use avouch_fleet::{Fleet, IssuedCertificate, Member, Observed, Recorded, RegisteredEntry, is_at, is_serial};
use avouch_time::duration::rounded;
use avouch_time::{parse_rfc3339, relative};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) async fn run(what: &str, sources: &Sources, output: Output) -> Result<ExitCode, CliError> {
    let fleet = sources.collect().await?;
    warn_of_silences(&fleet)?;
    let known = Known::of(&fleet, what.trim());
    output.show(
        || &known,
        || match known.is_empty() {
            true => Text::Warnings(vec![format!("nobody who was asked knows {what}")]),
            false => known.to_text(&fleet).into(),
        },
    )?;
    Ok(exit_code(!known.is_empty()))
}

/// Everything that carries the text that was asked for.
#[derive(Debug, Serialize)]
struct Known<'a> {
    what: &'a str,
    entry: Option<&'a RegisteredEntry>,
    certificates: Vec<&'a IssuedCertificate>,
    workloads: Vec<Replica<'a>>,
    connections: Vec<Observed<'a>>,
    /// The decisions; of a trace its calls, in their order.
    decisions: Vec<Observed<'a>>,
}

/// A replica of a workload.
#[derive(Debug, Serialize)]
struct Replica<'a> {
    spiffe_id: &'a str,
    address: &'a str,
    phase: &'a str,
    serial: &'a str,
    seen_at: &'a str,
    problem: &'a str,
}

impl<'a> Replica<'a> {
    fn of(member: &'a Member) -> Self {
        let status = member.status.as_ref();
        Self {
            spiffe_id: &member.workload.spiffe_id,
            address: &member.address,
            phase: status.map_or("", |status| &status.phase),
            serial: status.and_then(|status| status.svid.as_ref()).map_or("", |svid| &svid.serial),
            seen_at: &member.workload.seen_at,
            problem: &member.problem,
        }
    }

    fn is_about(&self, what: &str) -> bool {
        !what.is_empty()
            && (self.spiffe_id == what || is_serial(self.serial, what) || is_at(self.address, what))
    }
}

impl<'a> Known<'a> {
    fn of(fleet: &'a Fleet, what: &'a str) -> Self {
        let mut certificates: Vec<_> = fleet
            .certificates
            .iter()
            .filter(|known| is_serial(&known.serial, what) || known.spiffe_id == what)
            .collect();
        // The latest show the current state; all of them would push the rest off the screen.
        certificates.truncate(MOST_CERTIFICATES);
        let replicas = fleet.members.iter().map(Replica::of).filter(|replica| replica.is_about(what));
        let (connections, decisions) = fleet
            .records_about(what)
            .into_iter()
            .partition(|record| matches!(record.record, Recorded::Connection(_)));
        // Of a certificate the owner's entry is of interest too.
        let owner = certificates.first().map_or(what, |certificate| certificate.spiffe_id.as_str());
        Self {
            what,
            entry: fleet.entries.iter().find(|entry| entry.spiffe_id == owner),
            workloads: replicas.collect(),
            certificates,
            connections,
            decisions,
        }
    }

    fn is_empty(&self) -> bool {
        self.entry.is_none()
            && self.certificates.is_empty()
            && self.workloads.is_empty()
            && self.connections.is_empty()
            && self.decisions.is_empty()
    }

    fn to_text(&self, fleet: &Fleet) -> String {
        let mut text = String::new();
        let mut section = |name: &str, content: String| {
            if !content.is_empty() {
                text.push_str(&format!("{}{name}\n{content}", if text.is_empty() { "" } else { "\n" }));
            }
        };
        section("REGISTERED", self.entry.map(|entry| registered(fleet, entry)).unwrap_or_default());
        section("CERTIFICATES", certificates(fleet, &self.certificates));
        section("RUNS", replicas(fleet, &self.workloads));
        section("CONNECTIONS", lines(fleet, &self.connections));
        let is_trace = self.decisions.iter().any(|record| match record.record {
            Recorded::Decision(decision) => decision.trace_id.eq_ignore_ascii_case(self.what),
            Recorded::Connection(_) => false,
        });
        section(if is_trace { "CALLS OF THE TRACE" } else { "DECISIONS" }, lines(fleet, &self.decisions));
        text
    }
}

/// The most certificates and records that are shown to people: what fits on a screen or two.
const MOST_CERTIFICATES: usize = 20;
const MOST_RECORDS: usize = 50;

fn registered(fleet: &Fleet, entry: &RegisteredEntry) -> String {
    let span = |seconds: Option<u64>| {
        seconds.map_or("default".to_owned(), |seconds| rounded(Duration::from_secs(seconds)))
    };
    output::fields(
        2,
        &[
            ("SPIFFE ID", entry.spiffe_id.clone()),
            ("created", moment(fleet, &entry.created_at)),
            ("TTL", span(entry.svid_ttl_seconds)),
            ("recovery", span(entry.recovery_window_seconds)),
            ("DNS names", entry.dns_names.join(" ")),
            ("on fork", if entry.on_fork.is_empty() { "alert".to_owned() } else { entry.on_fork.clone() }),
        ],
    )
}

fn certificates(fleet: &Fleet, found: &[&IssuedCertificate]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = found
        .iter()
        .map(|certificate| {
            [
                format!("  {}", certificate.serial),
                fleet.short(&certificate.spiffe_id).to_owned(),
                certificate.origin.clone(),
                moment(fleet, &certificate.not_before),
                moment(fleet, &certificate.not_after),
                if certificate.last_seen.is_empty() {
                    "never".to_owned()
                } else {
                    moment(fleet, &certificate.last_seen)
                },
                certificate.parent.clone(),
                match certificate.revocation_id {
                    0 => String::new(),
                    id => format!("by {id}"),
                },
            ]
        })
        .collect();
    output::table(["  SERIAL", "OWNER", "ORIGIN", "BEGAN", "ENDS", "LAST SEEN", "PARENT", "REVOKED"], &rows)
}

fn replicas(fleet: &Fleet, found: &[Replica<'_>]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = found
        .iter()
        .map(|replica| {
            [
                format!("  {}", replica.address),
                fleet.short(replica.spiffe_id).to_owned(),
                if replica.phase.is_empty() { "not heard".to_owned() } else { replica.phase.to_owned() },
                replica.serial.to_owned(),
                moment(fleet, replica.seen_at),
                replica.problem.to_owned(),
            ]
        })
        .collect();
    output::table(["  ADDRESS", "WHO", "PHASE", "CERTIFICATE", "ISSUER HEARD IT", "PROBLEM"], &rows)
}

fn lines(fleet: &Fleet, found: &[Observed<'_>]) -> String {
    let earlier = found.len().saturating_sub(MOST_RECORDS);
    let mut text = if earlier > 0 {
        format!("  {earlier} earlier ones are left out; --json has them all\n")
    } else {
        String::new()
    };
    for record in found.iter().skip(earlier) {
        text.push_str(&format!("  {}\n", record::text(fleet, record)));
    }
    text
}

/// A time, relative to when the fleet was asked.
fn moment(fleet: &Fleet, at: &str) -> String {
    let times = parse_rfc3339(at).zip(parse_rfc3339(&fleet.taken_at));
    times.map_or_else(|| at.to_owned(), |(at, now)| relative(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet_sample as sample;

    fn told(what: &str) -> String {
        let fleet = sample::fleet();
        Known::of(&fleet, what).to_text(&fleet)
    }

    #[test]
    fn of_an_identity_everything_is_told() {
        let expected = "\
REGISTERED
  SPIFFE ID  spiffe://market.example/dev
  created    1h10m ago
  TTL        10m
  recovery   default
  DNS names  localhost
  on fork    alert

CERTIFICATES
  SERIAL  OWNER  ORIGIN  BEGAN    ENDS   LAST SEEN  PARENT  REVOKED
  0a1b    dev    enroll  10m ago  in 5m  never      0a1a

CONNECTIONS
  2027-01-15T08:00:02.000Z  orders  √ dev connected from 127.0.0.1:50001, TLSv1_3 X25519MLKEM768, 1.2 ms  [conn-0000000000000001]

DECISIONS
  2027-01-15T08:00:03.000Z  orders  × dev → market.orders.v1.Orders/Place refused: ROLE_MISSING, need shopper, have auditor (3 like it before)  [d-0000000000000001 conn-0000000000000001 trace 4bf92f3577b34da6a3ce929d0e0e4736]
  2027-01-15T08:00:06.000Z  ledger  ‼ dev → market.ledger.v1.Ledger/Post audited: ROLE_MISSING  [d-0000000000000002 trace 4bf92f3577b34da6a3ce929d0e0e4736]
";
        assert_eq!(told("spiffe://market.example/dev"), expected);
    }

    #[test]
    fn of_a_trace_its_calls_are_told_in_their_order() {
        let text = told(sample::TRACE);
        let calls: Vec<_> = text
            .lines()
            .filter(|line| line.contains('→'))
            .map(|line| line.split("  ").nth(2).unwrap())
            .collect();
        assert!(text.starts_with("CONNECTIONS\n") && text.contains("CALLS OF THE TRACE\n"), "{text}");
        assert_eq!(calls, ["orders", "ledger"], "{text}");
    }

    #[test]
    fn of_a_serial_its_owner_and_where_it_was_shown() {
        let text = told("0A1B");
        for part in ["REGISTERED", "spiffe://market.example/dev", "enroll", "conn-0000000000000001"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = told("5eorders");
        assert!(text.starts_with("RUNS\n") && text.contains("127.0.0.1:7001"), "{text}");
    }

    #[test]
    fn of_an_address_who_listens_there_and_who_came_from_there() {
        let text = told("127.0.0.1:7003");
        assert!(text.contains("dark") && text.contains("not heard") && text.contains("PEER_CONN"), "{text}");
        let text = told("127.0.0.1:50002");
        assert!(text.contains("× late") && text.contains("CERT_EXPIRED"), "{text}");
        assert!(!text.contains("conn-0000000000000001"), "{text}");
        let text = told("127.0.0.1:50001");
        assert!(text.contains("d-0000000000000001"), "what came over that connection: {text}");
    }

    #[test]
    fn the_latest_of_many_records_are_shown_and_the_rest_is_counted() {
        let mut fleet = sample::fleet();
        let record = fleet.members[1].records[0].clone();
        fleet.members[1].records = vec![record; MOST_RECORDS + 3];
        let text = Known::of(&fleet, "77").to_text(&fleet);
        assert!(text.contains("  3 earlier ones are left out"), "{text}");
        assert_eq!(text.lines().count(), MOST_RECORDS + 2);
    }

    #[test]
    fn of_what_nobody_knows_nothing_is_told() {
        let fleet = sample::fleet();
        for what in ["", "x", "10.9.9.9", "spiffe://market.example/none", "[", "::"] {
            assert!(Known::of(&fleet, what).is_empty(), "{what}");
        }
    }
}
