//! `avouch edges`: who calls whom.
//!
//! Each workload counts its callers; replicas of one identity are one callee here. Rates are over the time that was
//! counted, not of this moment.

use super::{exit_code, warn_of_silences};
use crate::error::CliError;
use crate::output::{self, Output, Text};
use crate::sources::Sources;
use avouch_api::observe::v1::Edge;
use avouch_fleet::{ASKING, Fleet};
use avouch_time::{parse_rfc3339, relative};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::SystemTime;

/// The edges that are to be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Only those with calls that were refused, or would have been but for audit mode.
    pub(crate) refused: bool,
    /// Also what commands like this one call.
    pub(crate) all: bool,
}

/// Shows who calls whom.
pub(crate) async fn run(sources: &Sources, wanted: Wanted, output: Output) -> Result<ExitCode, CliError> {
    let fleet = sources.collect().await?;
    warn_of_silences(&fleet)?;
    let mut flows = flows(&fleet);
    flows.retain(|flow| flow.is_wanted(wanted));
    output.show(
        || &flows,
        || match flows.is_empty() {
            true => Text::Warnings(vec!["no calls were counted".to_owned()]),
            false => table(&fleet, &flows).into(),
        },
    )?;
    Ok(exit_code(!flows.is_empty()))
}

/// The calls of one method by one caller at one callee, over all its replicas.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Flow {
    caller: String,
    callee: String,
    /// The addresses of the replicas that were called.
    addresses: Vec<String>,
    method: String,
    /// The number of calls, refused ones included.
    calls: u64,
    ok: u64,
    failed: u64,
    /// The number of streams that are over without having failed; they are among those that are OK.
    retired: u64,
    refused: u64,
    /// The number of calls that would have been refused, but for audit mode.
    audited: u64,
    rate_per_second: f64,
    since: String,
    last_at: String,
    tls_version: String,
    group: String,
    /// The end of the caller's certificate.
    peer_not_after: String,
}

impl Flow {
    /// Whether it is to be shown: refusals always; calls of programs that ask as this one does would bury the rest.
    fn is_wanted(&self, wanted: Wanted) -> bool {
        let refused = self.refused > 0 || self.audited > 0;
        refused || (!wanted.refused && (wanted.all || !self.method.starts_with(ASKING)))
    }

    fn add(&mut self, address: &str, edge: &Edge, now: &str) {
        self.addresses.push(address.to_owned());
        let calls = edge.allowed.saturating_add(edge.refused);
        self.calls = self.calls.saturating_add(calls);
        self.ok = self.ok.saturating_add(edge.allowed.saturating_sub(edge.failed));
        self.failed = self.failed.saturating_add(edge.failed);
        self.retired = self.retired.saturating_add(edge.retired);
        self.refused = self.refused.saturating_add(edge.refused);
        self.audited = self.audited.saturating_add(edge.audited);
        self.rate_per_second += rate(calls, &edge.since, now);
        if self.since.is_empty() || edge.since < self.since {
            self.since.clone_from(&edge.since);
        }
        if edge.last_at >= self.last_at {
            self.last_at.clone_from(&edge.last_at);
            self.tls_version.clone_from(&edge.tls_version);
            self.group.clone_from(&edge.group);
            self.peer_not_after.clone_from(&edge.peer_not_after);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "to be read, not to be counted with")]
fn rate(calls: u64, since: &str, now: &str) -> f64 {
    let (Some(since), Some(now)) = (parse_rfc3339(since), parse_rfc3339(now)) else {
        return 0.0;
    };
    let seconds = now.duration_since(since).unwrap_or_default().as_secs_f64();
    // No rate is given for less than a second.
    calls as f64 / seconds.max(1.0)
}

/// The flows of all members, by caller, callee and method.
fn flows(fleet: &Fleet) -> Vec<Flow> {
    let mut found: BTreeMap<(&str, &str, &str), Flow> = BTreeMap::new();
    for member in &fleet.members {
        let callee = member.workload.spiffe_id.as_str();
        // By its own clock, which may differ from that of whoever asked.
        let own = member.status.as_ref().map(|status| status.now.as_str()).filter(|now| !now.is_empty());
        for edge in &member.edges {
            let flow = found.entry((&edge.peer_id, callee, &edge.method)).or_insert_with(|| Flow {
                caller: edge.peer_id.clone(),
                callee: callee.to_owned(),
                method: edge.method.clone(),
                ..Flow::default()
            });
            flow.add(&member.address, edge, own.unwrap_or(&fleet.taken_at));
        }
    }
    found.into_values().collect()
}

fn table(fleet: &Fleet, flows: &[Flow]) -> String {
    let head = [
        "",
        "CALLER",
        "CALLEE",
        "METHOD",
        "CALLS",
        "OK",
        "RETIRED",
        "REFUSED",
        "RATE",
        "TLS",
        "GROUP",
        "CERTIFICATE ENDS",
    ];
    let now = parse_rfc3339(&fleet.taken_at);
    let rows: Vec<_> = flows.iter().map(|flow| row(fleet, flow, now)).collect();
    output::table(head, &rows)
}

fn row(fleet: &Fleet, flow: &Flow, now: Option<SystemTime>) -> [String; 12] {
    let mark = match flow {
        Flow { refused: 1.., .. } => "×",
        Flow { audited: 1.., .. } => "‼",
        _ => "",
    };
    let audited = if flow.audited > 0 { format!(" (+{} audited)", flow.audited) } else { String::new() };
    let ends = parse_rfc3339(&flow.peer_not_after).zip(now);
    [
        mark.to_owned(),
        fleet.short(&flow.caller).to_owned(),
        fleet.short(&flow.callee).to_owned(),
        flow.method.trim_start_matches('/').to_owned(),
        flow.calls.to_string(),
        percent(flow.ok, flow.calls),
        flow.retired.to_string(),
        format!("{}{audited}", flow.refused),
        format!("{:.1}/s", flow.rate_per_second),
        flow.tls_version.trim_start_matches("TLSv").replace('_', "."),
        flow.group.clone(),
        ends.map(|(at, now)| relative(at, now)).unwrap_or_default(),
    ]
}

/// A percentage, rounded down: 100 % is all of them.
fn percent(part: u64, of: u64) -> String {
    match of {
        0 => "-".to_owned(),
        _ => format!("{}%", u128::from(part) * 100 / u128::from(of)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet_sample as sample;

    #[test]
    fn the_table_shows_who_calls_whom_and_marks_refusals() {
        let fleet = sample::fleet();
        let expected = "
   CALLER      CALLEE  METHOD                         CALLS  OK    RETIRED  REFUSED         RATE   TLS  GROUP           CERTIFICATE ENDS
×  dev         orders  market.orders.v1.Orders/Place  2      0%    0        2               0.0/s  1.3  X25519MLKEM768  in 20m
‼  orders      ledger  market.ledger.v1.Ledger/Post   300    100%  0        0 (+7 audited)  0.5/s  1.3  X25519MLKEM768  in 20m
   storefront  orders  market.orders.v1.Orders/Place  1200   99%   0        0               2.0/s  1.3  X25519MLKEM768  in 20m
";
        assert_eq!(format!("\n{}", table(&fleet, &flows(&fleet))), expected);
    }

    #[test]
    fn streams_that_retired_have_not_failed_and_are_shown_apart() {
        let mut fleet = sample::fleet();
        let edge = &mut fleet.members[2].edges[0];
        (edge.allowed, edge.failed, edge.retired, edge.refused) = (8, 0, 7, 0);
        let found = flows(&fleet);
        let flow = found.iter().find(|flow| flow.retired > 0).unwrap();
        assert_eq!((flow.calls, flow.ok, flow.retired, flow.failed), (8, 8, 7, 0));
        let row = row(&fleet, flow, None);
        assert_eq!((row[5].as_str(), row[6].as_str()), ("100%", "7"), "{row:?}");
    }

    #[test]
    fn refused_shows_refused_and_audited_only() {
        let wanted = Wanted { refused: true, all: true };
        let found = flows(&sample::fleet());
        let callers: Vec<_> =
            found.iter().filter(|flow| flow.is_wanted(wanted)).map(|flow| flow.caller.as_str()).collect();
        assert_eq!(callers, ["spiffe://market.example/dev", "spiffe://market.example/orders"]);
    }

    #[test]
    fn who_asks_as_this_program_does_shows_with_all_or_when_refused() {
        let asking = Flow { method: format!("{ASKING}ListEdges"), ..Flow::default() };
        let refused = Flow { refused: 1, method: asking.method.clone(), ..Flow::default() };
        let wanted = |all, flow: &Flow| flow.is_wanted(Wanted { refused: false, all });
        assert!(!wanted(false, &asking) && wanted(true, &asking) && wanted(false, &refused));
    }

    #[test]
    fn replicas_are_one_callee_and_the_latest_connection_counts() {
        let mut fleet = sample::fleet();
        let mut replica = fleet.members[2].clone();
        replica.address = "127.0.0.1:8001".to_owned();
        replica.edges.truncate(1);
        replica.edges[0].last_at = "2027-01-15T08:09:00.000Z".to_owned();
        replica.edges[0].group = "X25519".to_owned();
        fleet.members.push(replica);
        let found = flows(&fleet);
        let storefront = found.iter().find(|flow| flow.caller.ends_with("storefront")).unwrap();
        assert_eq!((storefront.calls, storefront.ok, storefront.group.as_str()), (2_400, 2_394, "X25519"));
        assert_eq!(storefront.addresses, ["127.0.0.1:7001", "127.0.0.1:8001"]);
        assert!((storefront.rate_per_second - 4.0).abs() < 1e-9);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn numbers_that_lie_do_no_harm() {
        let mut fleet = sample::fleet();
        let edge = &mut fleet.members[2].edges[0];
        (edge.allowed, edge.refused, edge.failed, edge.audited) = (u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        edge.retired = u64::MAX;
        edge.since = "2099-01-15T08:09:00.000Z".to_owned();
        edge.peer_not_after = "never".to_owned();
        edge.peer_id = "evil\u{1b}[2J".to_owned();
        let text = table(&fleet, &flows(&fleet));
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn percentages_are_rounded_down() {
        for (part, of, shown) in
            [(0, 0, "-"), (999, 1_000, "99%"), (1, 1, "100%"), (u64::MAX, u64::MAX, "100%")]
        {
            assert_eq!(percent(part, of), shown);
        }
    }
}
