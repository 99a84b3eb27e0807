//! Every RPC of every service and of the issuer, from a container that is no part of the market: by nobody, by everybody
//! who may not, by everybody who may.
//!
//! The table of who may is not repeated here: it is the policy's, which a golden file reviews. All identities are real
//! ones, enrolled with the issuer; what the container was told is compared with what the servers wrote down.

use std::collections::BTreeMap;
use std::sync::Arc;

use avouch_authz::{Matrix, Methods, Policy, Subject, matrix};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::harness::{Node, Outcome, ensure, root, scenario};
use crate::market::{Market, address};
use crate::records;

const SERVICES: [&str; 6] = ["ledger", "inventory", "payments", "orders", "reports", "storefront"];

/// Holds no role at all.
const INTERN: &str = "intern";

/// Is denied everything by a rule of its own.
const QUARANTINED: &str = "quarantine/orders";

/// What has to become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The handler's own answer.
    Answered,
    /// Not even the handshake's end.
    NoHandshake,
    /// The decision's refusal, with this reason.
    Refused(&'static str),
}

/// One call: at which process, of what, by whom.
#[derive(Debug)]
struct Case {
    server: &'static str,
    path: &'static str,
    caller: Option<String>,
    expected: Expected,
}

impl Case {
    fn what(&self) -> String {
        format!("{} of {} by {}", self.path, self.server, self.caller.as_deref().unwrap_or("nobody"))
    }
}

#[test]
fn every_rpc_of_the_market_and_of_its_issuer_answers_exactly_those_whom_the_policy_names() -> Outcome {
    scenario("deny_matrix", |world| async move {
        let market = Market::begin(&world, "").await?;
        let services = try_join_all(SERVICES.map(|name| market.service(name).start())).await?;
        let mut servers: BTreeMap<&str, Arc<Node>> = SERVICES.into_iter().zip(services).collect();
        // Without a posting the book's tail is a silent one.
        let payments = format!("https://{}", address(&servers["payments"]));
        market.answer("till", "orders", &["charge", &payments, "order-1"]).await?;
        let cases: Vec<Case> = [of_the_market()?, of_the_issuer()?].into_iter().flatten().collect();
        let plan = plan(&market, &servers, &cases).await?;
        let report = market.attack("hostile", &["calls"], &[("plan.json", plan)]).await?;
        ensure(report.len() == cases.len(), format!("{} calls instead of {}", report.len(), cases.len()))?;
        servers.insert("issuer", Arc::clone(&market.issuer));
        judge(&servers, &cases, &report).await
    })
}

fn of_the_market() -> Outcome<Vec<Case>> {
    let methods = Methods::new(&[&market_api::CONTRACT])?;
    let file = root().join("deploy/demo/policy.toml");
    let table = matrix(&Policy::load("policy.toml", &std::fs::read_to_string(file)?, &methods)?);
    let callers: Vec<&str> = names(&table);
    let mut cases = Vec::new();
    for (column, path) in table.methods.iter().copied().enumerate() {
        for server in SERVICES.into_iter().filter(|name| serves(name, path)) {
            let mut add = |caller: Option<&str>, expected| {
                cases.push(Case { server, path, caller: caller.map(str::to_owned), expected });
            };
            add(None, Expected::NoHandshake);
            add(Some(QUARANTINED), Expected::Refused("DENY_RULE_MATCHED"));
            for name in callers.iter().copied().chain([INTERN]) {
                let may = may(&table, column, name);
                add(Some(name), if may { Expected::Answered } else { Expected::Refused("ROLE_MISSING") });
            }
        }
    }
    // Nothing is left out: each RPC has somebody who may, and somebody with other roles only.
    for path in market_api::CONTRACT.methods.iter().map(|method| method.path) {
        let of =
            |expected| cases.iter().filter(|case| case.path == path && case.expected == expected).count();
        let enough = of(Expected::NoHandshake) == 1
            && of(Expected::Answered) >= 1
            && of(Expected::Refused("ROLE_MISSING")) >= 5;
        ensure(enough, format!("{path} is not called by all kinds of callers"))?;
    }
    Ok(cases)
}

/// The issuer's listener takes callers without a certificate; the decision comes after that.
fn of_the_issuer() -> Outcome<Vec<Case>> {
    let methods = Methods::new(&[&avouch_api::CONTRACT])?;
    let table = matrix(&Policy::without_roles(&methods));
    let row = |subject| table.rows.iter().find(|row| row.subject == subject);
    let allowed = |subject, column: usize| row(subject).is_some_and(|row| row.allowed[column]);
    let mut cases = Vec::new();
    for (column, path) in table.methods.iter().copied().enumerate() {
        for (caller, subject) in [(None, Subject::Anonymous), (Some(INTERN), Subject::AnyIdentity)] {
            let expected = match caller {
                _ if allowed(subject, column) => Expected::Answered,
                _ if allowed(Subject::LocalAdmin, column) => Expected::Refused("NO_ALLOW_RULE"),
                None => Expected::Refused("NO_PEER_IDENTITY"),
                Some(_) => Expected::Refused("ROLE_MISSING"),
            };
            cases.push(Case { server: "issuer", path, caller: caller.map(str::to_owned), expected });
        }
    }
    Ok(cases)
}

/// Everybody whom the policy gives a role.
fn names(table: &Matrix) -> Vec<&str> {
    let callers = table.rows.iter().flat_map(|row| &row.callers);
    let mut names: Vec<&str> = callers.filter_map(|id| id.strip_prefix("spiffe://market.example/")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// By one of its roles, or for being anybody.
fn may(table: &Matrix, column: usize, name: &str) -> bool {
    let id = format!("spiffe://market.example/{name}");
    let mut rows = table.rows.iter().filter(|row| match row.subject {
        Subject::AnyIdentity => true,
        Subject::Role(_) => row.callers.contains(&id),
        _ => false,
    });
    rows.any(|row| row.allowed[column])
}

/// Its own RPCs, and those that are everybody's.
fn serves(service: &str, path: &str) -> bool {
    path.starts_with("/grpc.") || path.split('.').nth(1) == Some(service)
}

/// The plan for the hostile container, with a token for everybody in it.
async fn plan(market: &Market, servers: &BTreeMap<&str, Arc<Node>>, cases: &[Case]) -> Outcome<String> {
    let mut callers = serde_json::Map::new();
    for name in cases.iter().filter_map(|case| case.caller.as_deref()) {
        if !callers.contains_key(name) {
            let token = market.token(name).await?;
            callers.insert(name.to_owned(), json!({ "issuer": market.issuer_address(), "token": token }));
        }
    }
    let target =
        |case: &Case| servers.get(case.server).map_or_else(|| market.issuer_address(), |it| address(it));
    let calls =
        cases.iter().map(|case| json!({ "target": target(case), "path": case.path, "caller": case.caller }));
    let calls: Vec<Value> = calls.collect();
    Ok(json!({ "callers": callers, "calls": calls }).to_string())
}

async fn judge(servers: &BTreeMap<&str, Arc<Node>>, cases: &[Case], report: &[Value]) -> Outcome {
    let mut wrong = Vec::new();
    let calls: Vec<(&Case, &Value)> = cases.iter().zip(report.iter().map(|line| &line["seen"])).collect();
    for (name, server) in servers {
        let here = || calls.iter().copied().filter(|(case, _)| case.server == *name);
        let refused = here().filter(|(case, _)| case.expected != Expected::Answered);
        let records = records::complete(server, &refused.map(|(_, seen)| seen).collect::<Vec<_>>()).await?;
        for (case, seen) in here() {
            let right = told(case, seen).and_then(|()| recorded(case, seen, &records));
            wrong.extend(right.err().map(|why| format!("{}: {why}", case.what())));
        }
        let others = records::others(&records, &here().map(|(_, seen)| seen).collect::<Vec<_>>());
        wrong.extend(others.into_iter().map(|record| format!("{name} refused somebody else: {record}")));
    }
    let count =
        |expected: fn(&Expected) -> bool| cases.iter().filter(|case| expected(&case.expected)).count();
    let (answered, refused) = (
        count(|expected| *expected == Expected::Answered),
        count(|expected| matches!(expected, Expected::Refused(_))),
    );
    eprintln!(
        "{} calls: {answered} answered, {refused} refused by decision, the rest without handshake",
        cases.len()
    );
    ensure(wrong.is_empty(), format!("{} calls went wrong:\n{}", wrong.len(), wrong.join("\n")))
}

/// What the caller was told.
fn told(case: &Case, seen: &Value) -> Result<(), String> {
    let says = |word: &str| seen["details"].as_str().is_some_and(|details| details.contains(word));
    let right = match case.expected {
        Expected::NoHandshake => seen["outcome"] == "disconnected" && seen["alert"] == "CertificateRequired",
        Expected::Refused(reason) => {
            let code = if reason == "NO_PEER_IDENTITY" { 16 } else { 7 };
            seen["status"] == code && says(reason) && seen["decision"].is_string()
        }
        // The issuer refuses empty requests with reasons of its own.
        Expected::Answered if case.server == "issuer" => {
            let rules = ["NO_ALLOW_RULE", "NO_PEER_IDENTITY", "ROLE_MISSING"];
            seen["outcome"] == "answered" && !rules.into_iter().any(says)
        }
        // Whatever the handler makes of an empty request: it was asked. Of the protocols that are everybody's, not
        // everything is served everywhere.
        Expected::Answered => {
            let codes = if case.path.starts_with("/grpc.") { [0, 3, 12] } else { [0, 3, 5] };
            codes.into_iter().any(|code| seen["status"] == code) && !says("avouch")
        }
    };
    if right { Ok(()) } else { Err(format!("should be {:?}: {seen}", case.expected)) }
}

/// What the server wrote down: of a refusal one record with everything in it, of an answer none.
fn recorded(case: &Case, seen: &Value, records: &[Value]) -> Result<(), String> {
    let caller =
        case.caller.as_ref().map_or("anonymous".to_owned(), |name| format!("spiffe://market.example/{name}"));
    let fields = match case.expected {
        // The issuer's handlers have refusals of their own.
        Expected::Answered if case.server == "issuer" => return Ok(()),
        Expected::Answered => return records::none(records, seen),
        Expected::NoHandshake => {
            vec![("message", "connection refused"), ("reason", "CLIENT_CERT_MISSING")]
        }
        Expected::Refused(reason) => vec![
            ("message", "call refused"),
            ("verdict", "refused"),
            ("reason", reason),
            ("method", case.path),
            ("peer", caller.as_str()),
        ],
    };
    let record = records::only(records, seen)?;
    let wrong = fields.iter().find(|(field, value)| record[*field] != *value);
    wrong.map_or(Ok(()), |(field, value)| Err(format!("{field} should be {value}: {record}")))
}
