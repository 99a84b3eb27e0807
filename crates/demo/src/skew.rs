//! Two builds in one market: the issuer of one with the services of the other, both ways round.
//!
//! Everybody gets an identity, renews it, follows the trust stream and goes on serving, also after a change of trust where
//! the issuer can make one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use avouch_api::admin::v1::Entry;

use crate::console::{Console, Mark};
use crate::http::metric;
use crate::paths::{Paths, SERVICES, Tree, id, upstreams};
use crate::setup::{Market, Options, SetupError};
use crate::wait;

/// The time that everybody has to renew: the life of a certificate, and as much again for a busy machine.
const RENEWED: Duration = Duration::from_secs(40);

/// Orders a second.
const TRICKLE: &str = "4";

/// The metric of the calls that a service has made.
const CALLS: &str = "rpc_client_call_duration_seconds_count";

/// The one stream between services of the market.
const STREAM: &str = "market.ledger.v1.Ledger/Tail";

/// The codes with which services of the market answer each other: an order may well be out of stock.
const ANSWERS: [&str; 5] = ["OK", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS"];

/// What a service did beside the issuer of another build.
#[derive(Debug)]
struct Row {
    service: &'static str,
    renewals: usize,
    follows: bool,
    calls: f64,
    failed: f64,
    /// The codes of the calls that failed, each once.
    codes: String,
}

impl Row {
    fn held(&self) -> bool {
        self.renewals > 0 && self.follows && self.failed == 0.0
    }
}

/// Runs the market with the issuer of an older build, then the older services with today's issuer; whether both held.
///
/// # Errors
/// What made it impossible to go on: a process that ended, or something that did not happen in time.
pub async fn skew(paths: &Paths, older: PathBuf, console: &Console) -> Result<bool, SetupError> {
    let older = Tree { bin: older.join("target/debug"), root: older };
    let today = Tree { bin: paths.bin.clone(), root: paths.root.clone() };
    let target = paths.root.join("target/skew");
    let with = |services: &Tree, issuer: &Tree, dir: &str| {
        let (root, bin) = (services.root.clone(), services.bin.clone());
        Paths { root, bin, issuer: Some(issuer.clone()), ..paths.clone() }.within(target.join(dir))
    };
    let mut held = true;
    for (title, paths, revokes) in [
        ("the older issuer with today's services", with(&today, &older, "older-issuer"), false),
        ("today's issuer with the older services", with(&older, &today, "older-services"), true),
    ] {
        console.line(Mark::Bold, title);
        let rows = run(paths, revokes, console).await?;
        console.line(Mark::Plain, "  service      renewals  trust stream  calls  failed");
        for row in rows {
            let (mark, follows) =
                (if row.held() { Mark::Held } else { Mark::Failed }, if row.follows { "yes" } else { "no" });
            let Row { service, renewals, calls, failed, ref codes, .. } = row;
            console.line(
                mark,
                &format!("{service:<11} {renewals:>9}  {follows:>12}  {calls:>5}  {failed:>6}  {codes}"),
            );
            held &= row.held();
        }
    }
    Ok(held)
}

async fn run(paths: Paths, revokes: bool, console: &Console) -> Result<Vec<Row>, SetupError> {
    let orders = paths.shipped("orders.jsonl");
    let options = Options {
        storefront: BTreeMap::from([
            ("AVOUCH_STOREFRONT__ORDERS_FILE".to_owned(), OsString::from(orders)),
            ("AVOUCH_STOREFRONT__TRICKLE_PER_SECOND".to_owned(), TRICKLE.into()),
        ]),
        ..Options::default()
    };
    let market = Market::start(paths, options).await?;
    let outcome = judged(&market, revokes, console).await;
    let bad = market.stop().await;
    let rows = outcome?;
    if bad.is_empty() {
        return Ok(rows);
    }
    Err(SetupError::Other(format!("did not end by themselves: {}", bad.join(", "))))
}

async fn judged(market: &Market, revokes: bool, console: &Console) -> Result<Vec<Row>, SetupError> {
    for name in SERVICES {
        console.progress(&format!("starting {name}"));
        // Older revisions have the identities of upstreams in no file.
        let ids = upstreams(name).iter().map(|upstream| {
            (format!("AVOUCH_UPSTREAMS__{}__ID", upstream.to_uppercase()), OsString::from(id(upstream)))
        });
        market.service(name, ids.collect()).await?;
    }
    console.progress("waiting until everybody has renewed");
    renewed(market, 1).await?;
    if revokes {
        console.progress("revoking an identity, and waiting until everybody has renewed again");
        revoke_somebody(market).await?;
        renewed(market, 2).await?;
    }
    rows(market).await
}

/// A change of trust that hits none of the services.
async fn revoke_somebody(market: &Market) -> Result<(), SetupError> {
    let leaver = id("leaver");
    let refused = |action: &str, status| {
        let action = format!("{action} {leaver}");
        SetupError::Issuer { action, status: Box::new(status) }
    };
    let entry = Entry { spiffe_id: leaver.clone(), ..Entry::default() };
    market.admin.register(entry).await.map_err(|status| refused("register", status))?;
    market
        .admin
        .revoke(&leaver, "to change the trust state")
        .await
        .map_err(|status| refused("revoke", status))
}

/// Waits until every service has renewed so many times.
async fn renewed(market: &Market, times: usize) -> Result<(), SetupError> {
    let limit = RENEWED * u32::try_from(times).unwrap_or(u32::MAX);
    let all = async || {
        market.all_running()?;
        let renewals = renewals(market).await?;
        let late = SERVICES.iter().find(|name| renewals.get(**name).copied().unwrap_or_default() < times);
        Ok(late.map_or(Ok(()), |name| Err(format!("{name} has not"))))
    };
    wait::try_until::<_, SetupError>("everybody has renewed", limit, all).await
}

/// How often each service has renewed, by the issuer's inventory.
async fn renewals(market: &Market) -> Result<BTreeMap<&'static str, usize>, SetupError> {
    let failed =
        |status| SetupError::Issuer { action: "list certificates".to_owned(), status: Box::new(status) };
    let all = market.admin.certificates().await.map_err(failed)?;
    let count = |name: &str| all.iter().filter(|it| it.origin == "renew" && it.spiffe_id == id(name)).count();
    Ok(SERVICES.iter().map(|name| (*name, count(name))).collect())
}

async fn rows(market: &Market) -> Result<Vec<Row>, SetupError> {
    let failed =
        |status| SetupError::Issuer { action: "list workloads".to_owned(), status: Box::new(status) };
    let workloads = market.admin.workloads().await.map_err(failed)?;
    let renewals = renewals(market).await?;
    let mut rows = Vec::new();
    for service in SERVICES {
        let page = market.metrics(service).await?;
        let workload = workloads.iter().find(|workload| workload.spiffe_id == id(service));
        rows.push(Row {
            service,
            renewals: renewals.get(service).copied().unwrap_or_default(),
            follows: workload.is_some_and(|workload| workload.bundle_sequence > 0 || workload.epoch > 0),
            calls: calls(&page, |_| true),
            failed: calls(&page, |line| code(line).is_some_and(|code| !ANSWERS.contains(&code))),
            codes: codes(&page),
        });
    }
    let served = rows.iter().map(|row| row.calls).sum::<f64>();
    if served == 0.0 {
        return Err(SetupError::Other("nobody has made a call".to_owned()));
    }
    Ok(rows)
}

/// The codes of the answers that are no part of the market's trade.
fn codes(page: &str) -> String {
    let codes: BTreeSet<_> = page.lines().filter(|line| line.starts_with(CALLS)).filter_map(code).collect();
    codes.into_iter().filter(|code| !ANSWERS.contains(code)).collect::<Vec<_>>().join(" ")
}

/// The code of a line of the metrics page.
fn code(line: &str) -> Option<&str> {
    // A stream ends with UNAVAILABLE when its connection retires, and its reader resumes it.
    if line.contains(STREAM) {
        return None;
    }
    let (_, rest) = line.split_once("rpc_response_status_code=\"")?;
    rest.split_once('"').map(|(code, _)| code)
}

/// The calls that a service has made, by the labels of the metric.
fn calls(page: &str, which: impl Fn(&str) -> bool) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(CALLS) && which(line));
    lines.filter_map(|line| metric(line, CALLS)).fold(0.0, |all, one| all + one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_their_status() {
        let page = "# HELP x\nrpc_client_call_duration_seconds_count{rpc_response_status_code=\"OK\"} 4\n\
                    rpc_client_call_duration_seconds_count{rpc_response_status_code=\"UNAVAILABLE\"} 1\n";
        assert!((calls(page, |_| true) - 5.0).abs() < 1e-9);
        assert!((calls(page, |line| code(line) == Some("UNAVAILABLE")) - 1.0).abs() < 1e-9);
        assert_eq!(codes(page), "UNAVAILABLE");
        assert_eq!(calls("", |_| true).to_string(), "0");
    }

    #[test]
    fn a_service_that_has_not_renewed_or_had_a_failed_call_did_not_hold() {
        let row = |renewals, follows, failed| Row {
            service: "orders",
            renewals,
            follows,
            calls: 3.0,
            failed,
            codes: String::new(),
        };
        assert!(row(1, true, 0.0).held());
        assert!(!row(0, true, 0.0).held() && !row(1, false, 0.0).held() && !row(1, true, 1.0).held());
    }
}
