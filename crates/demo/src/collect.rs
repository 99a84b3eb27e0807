//! Derives the facts of a run from its spans, logs, the issuer's inventory and the policy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avouch_authz::{Methods, Policy};
use avouch_spiffe::contract::{Contract, Rule};

use crate::facts::{Certificate, Edge, Kill, Matrix, Party, PartyKind, Refusal, Rpc};
use crate::otlp::{Kind, SpanRecord};
use crate::paths::{Paths, SERVICES, id, upstreams};
use crate::records;
use crate::restarts::AFTERMATH;
use crate::stopwatch::Stopwatch;
use crate::traces::Call;

/// All parties, with the roles that the policy gives them.
#[must_use]
pub fn parties(matrix: &Matrix) -> Vec<Party> {
    let party = |name: &str, kind, identity: Option<String>| {
        let holds = |(role, holders): (&String, &Vec<String>)| {
            let holder =
                kind != PartyKind::Hostile && identity.as_ref().is_some_and(|id| holders.contains(id));
            holder.then(|| role.clone())
        };
        let roles = matrix.roles.iter().filter_map(holds).collect();
        Party { name: name.to_owned(), kind, spiffe_id: identity, roles }
    };
    let mut all = vec![party("issuer", PartyKind::Issuer, Some(id("issuer")))];
    all.extend(SERVICES.iter().rev().map(|name| party(name, PartyKind::Service, Some(id(name)))));
    all.extend(["dev", "auditor"].map(|name| party(name, PartyKind::Client, Some(id(name)))));
    all.push(party("intern", PartyKind::Hostile, Some(id("intern"))));
    all.push(party("nobody", PartyKind::Hostile, None));
    all.push(party("impostor", PartyKind::Hostile, Some(id("dev"))));
    all
}

/// The RPCs that each role may call, by the policy in `file` and the contracts.
///
/// # Errors
/// When the policy does not fit the contracts.
pub fn matrix(file: &Path, contracts: &[&'static Contract]) -> Result<Matrix, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let methods = Methods::new(contracts).map_err(|error| error.to_string())?;
    let policy =
        Policy::load(&file.display().to_string(), &text, &methods).map_err(|error| error.to_string())?;
    let table = avouch_authz::matrix(&policy);
    let mut roles = BTreeMap::new();
    for row in &table.rows {
        if let avouch_authz::Subject::Role(role) = row.subject {
            roles.insert(role.to_owned(), row.callers.clone());
        }
    }
    let rpcs = contracts.iter().flat_map(|contract| contract.methods).map(|method| {
        let (rule, roles): (_, &[&str]) = match method.rule {
            Rule::Roles(roles) => ("roles", roles),
            Rule::AnyIdentity => ("any_identity", &[]),
            Rule::Unauthenticated => ("unauthenticated", &[]),
            Rule::LocalAdmin => ("local_admin", &[]),
        };
        Rpc {
            path: method.path.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            rule: rule.to_owned(),
        }
    });
    let rpcs = rpcs.collect();
    Ok(Matrix { roles, rpcs })
}

/// Who called whom: by the servers' spans, with what was negotiated by their connection records, and the refusals.
#[must_use]
pub fn edges(spans: &[SpanRecord], paths: &Paths, refusals: &[Refusal]) -> Vec<Edge> {
    let mut seen: BTreeMap<(String, String), (BTreeSet<String>, u64)> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.kind == Kind::Server && SERVICES.contains(&&*span.service)) {
        let Some(caller) = span.attribute("avouch.peer.id").and_then(name_of) else { continue };
        let Some(method) = span.attribute("rpc.method") else { continue };
        // Refused calls are listed with the refusals.
        if span.attribute("avouch.decision") == Some("deny") {
            continue;
        }
        let entry = seen.entry((caller, span.service.to_string())).or_default();
        entry.0.insert(method.rsplit('/').next().unwrap_or(method).to_owned());
        entry.1 += 1;
    }
    for refusal in refusals {
        let key = (refusal.caller.clone(), refusal.callee.clone());
        seen.entry(key).or_insert_with(|| (BTreeSet::new(), 1));
    }
    let negotiated: BTreeMap<&str, Vec<records::Negotiated>> =
        SERVICES.iter().map(|name| (*name, records::accepted(&records::read(&paths.log(name))))).collect();
    seen.into_iter()
        .map(|((caller, callee), (rpcs, calls))| {
            let refused = refusals.iter().find(|r| r.caller == caller && r.callee == callee);
            let peer = id(&caller);
            let connection =
                negotiated.get(callee.as_str()).and_then(|all| all.iter().find(|n| n.peer == peer));
            // Not for these callers: a connection under the forged name is the rightful owner's.
            let connection = connection.filter(|_| caller != "impostor" && caller != "nobody");
            Edge {
                tls: connection.map(|n| n.tls.clone()),
                group: connection.map(|n| n.group.clone()),
                refused: refused.map(|refusal| refusal.expected.clone()),
                rpcs: rpcs.into_iter().collect(),
                caller,
                callee,
                calls,
            }
        })
        .collect()
}

/// `orders` of `spiffe://market.example/orders`.
fn name_of(spiffe_id: &str) -> Option<String> {
    spiffe_id.strip_prefix(&id("")).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The issuer's inventory on the run's time line, oldest first.
#[must_use]
pub fn certificates(inventory: &[avouch_api::admin::v1::Certificate], watch: &Stopwatch) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = inventory
        .iter()
        .filter_map(|certificate| {
            let begin = moment(certificate.not_before.as_ref()?);
            let end = moment(certificate.not_after.as_ref()?);
            Some(Certificate {
                spiffe_id: certificate.spiffe_id.clone(),
                serial: certificate.serial.clone(),
                origin: certificate.origin.clone(),
                issued_ms: watch.at(end - life(end.duration_since(begin).ok()?)),
                expires_ms: watch.at(end),
            })
        })
        .collect();
    all.sort_by_key(|certificate| certificate.issued_ms);
    all
}

fn moment(time: &prost_types::Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.seconds).unwrap_or(0))
}

/// The life of a certificate whose validity is this long: the rest is before its issue, min(30 s, life / 2).
fn life(validity: Duration) -> Duration {
    let backdated = Duration::from_secs(30);
    if validity > 3 * backdated { validity - backdated } else { validity * 2 / 3 }
}

/// The results of the calls between the services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// All that were seen.
    pub all: u64,
    /// Failed, and no kill explains it; with what is known of the first few.
    pub failed: u64,
    /// Failed because of a kill.
    pub excused: u64,
    /// The first few that failed without excuse.
    pub examples: Vec<String>,
}

/// Counts the calls, and notes with each kill how many failed because of it.
///
/// A kill excuses a call only while the process was away, and only if the call goes to it, comes from it, or goes to
/// a service that needs it, or is one that the killed had asked for and that was dropped with it. The issuer's death
/// excuses nothing: certificates outlive it. Streams end when their connection retires, by design; whether anything
/// was lost is for the audit to say.
pub fn calls(calls: &[Call], streams: &[&str], kills: &mut [Kill], watch: &Stopwatch) -> Calls {
    let mut counted = Calls::default();
    for call in calls.iter().filter(|call| !streams.iter().any(|stream| stream.ends_with(&call.method))) {
        counted.all += 1;
        if !call.failed() {
            continue;
        }
        let excuse = kills.iter_mut().find(|kill| excuses(kill, call, watch));
        if let Some(kill) = excuse {
            kill.failed_calls += 1;
            counted.excused += 1;
            continue;
        }
        counted.failed += 1;
        if counted.examples.len() < 3 {
            let at = watch.at_ns(call.end_ns);
            counted.examples.push(format!("{} {} {} at {at} ms", call.caller, call.method, call.status));
        }
    }
    counted
}

fn excuses(kill: &Kill, call: &Call, watch: &Stopwatch) -> bool {
    let at = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let until = at(kill.ready_ms) + i64::try_from(AFTERMATH.as_millis()).unwrap_or(0);
    let away = watch.at_ns(call.end_ns) >= at(kill.killed_ms) && watch.at_ns(call.start_ns) <= until;
    let callee = call.method.split('.').nth(1).unwrap_or_default();
    let dropped = call.status == "CANCELLED" && needs(&kill.party, &call.caller);
    away && kill.party != "issuer" && (call.caller == kill.party || needs(callee, &kill.party) || dropped)
}

/// Whether a service can't do its work without another.
fn needs(service: &str, other: &str) -> bool {
    service == other || upstreams(service).iter().any(|upstream| needs(upstream, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(caller: &str, method: &str, status: &str, watch: &Stopwatch, from_ms: u64, to_ms: u64) -> Call {
        let start = watch.now_ns() - watch.ms() * 1_000_000;
        Call {
            caller: caller.into(),
            server_id: None,
            method: method.into(),
            status: status.into(),
            start_ns: start + from_ms * 1_000_000,
            end_ns: start + to_ms * 1_000_000,
        }
    }

    fn kill(party: &str) -> Kill {
        Kill { party: party.into(), killed_ms: 5_000, restarted_ms: 5_010, ready_ms: 5_400, failed_calls: 0 }
    }

    fn failed(calls_made: &[Call], party: &str, watch: &Stopwatch) -> (u64, u64) {
        let counted = calls(calls_made, &["/market.ledger.v1.Ledger/Tail"], &mut [kill(party)], watch);
        (counted.failed, counted.excused)
    }

    #[test]
    fn a_kill_excuses_only_those_who_need_the_killed_and_only_while_it_is_away() {
        let watch = Stopwatch::start();
        let post = "market.ledger.v1.Ledger/Post";
        let of =
            |caller: &str, method: &str, from, to| [call(caller, method, "UNAVAILABLE", &watch, from, to)];
        assert_eq!(failed(&of("payments", post, 5_100, 5_200), "ledger", &watch), (0, 1));
        assert_eq!(
            failed(&of("storefront", "market.orders.v1.Orders/GetOrder", 5_100, 5_200), "ledger", &watch),
            (0, 1)
        );
        assert_eq!(
            failed(&of("orders", "market.inventory.v1.Inventory/Reserve", 5_100, 5_200), "ledger", &watch),
            (1, 0)
        );
        assert_eq!(failed(&of("payments", post, 5_100, 5_200), "reports", &watch), (1, 0));
        assert_eq!(failed(&of("payments", post, 5_100, 5_200), "orders", &watch), (1, 0));
        assert_eq!(failed(&of("payments", post, 4_000, 4_900), "ledger", &watch), (1, 0));
        assert_eq!(failed(&of("payments", post, 8_000, 8_100), "ledger", &watch), (1, 0));
        assert_eq!(failed(&of("payments", post, 5_100, 5_200), "issuer", &watch), (1, 0));
    }

    #[test]
    fn a_kill_excuses_what_was_dropped_with_the_killed_caller_and_nothing_else() {
        let watch = Stopwatch::start();
        let post = "market.ledger.v1.Ledger/Post";
        let of = |caller: &str, from, to| [call(caller, post, "CANCELLED", &watch, from, to)];
        assert_eq!(failed(&of("payments", 5_100, 5_200), "orders", &watch), (0, 1));
        assert_eq!(failed(&of("payments", 8_000, 8_100), "orders", &watch), (1, 0));
        assert_eq!(failed(&of("payments", 5_100, 5_200), "inventory", &watch), (1, 0));
    }

    #[test]
    fn the_end_of_a_stream_is_no_failed_call() {
        let watch = Stopwatch::start();
        let tail = call("reports", "market.ledger.v1.Ledger/Tail", "UNAVAILABLE", &watch, 1_000, 2_000);
        assert_eq!(calls(&[tail], &["/market.ledger.v1.Ledger/Tail"], &mut [], &watch), Calls::default());
    }

    #[test]
    fn the_life_of_a_certificate_is_told_from_its_validity() {
        for seconds in [20, 60, 3_600] {
            let validity = seconds + (seconds / 2).min(30);
            assert_eq!(life(Duration::from_secs(validity)).as_secs(), seconds);
        }
    }

    #[test]
    fn a_name_is_taken_from_identities_of_the_market_only() {
        assert_eq!(name_of("spiffe://market.example/orders").as_deref(), Some("orders"));
        assert_eq!(name_of("spiffe://market.example/"), None);
        assert_eq!(name_of("spiffe://elsewhere/orders"), None);
    }

    #[test]
    fn the_shipped_policy_gives_the_auditor_what_the_audit_needs() {
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo/policy.toml");
        let matrix = matrix(&policy, &[&market_api::CONTRACT]).unwrap();
        for needed in ["Orders/GetOrder", "Inventory/GetStock", "Ledger/GetTotals", "Reports/GetSummary"] {
            let rpc = matrix.rpcs.iter().find(|rpc| rpc.path.ends_with(needed)).unwrap();
            assert!(rpc.roles.contains(&"auditor".to_owned()), "{needed}");
        }
        let parties = parties(&matrix);
        let roles = |name: &str| parties.iter().find(|p| p.name == name).unwrap().roles.clone();
        assert_eq!(roles("auditor"), ["auditor"]);
        assert_eq!(roles("impostor"), [""; 0]);
        assert_eq!(roles("intern"), [""; 0]);
    }
}
