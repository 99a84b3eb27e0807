//! What servers wrote down of refusals: each exactly once, and found by what the refused one was told.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Node, Outcome, eventually};

/// Whether it says that something was refused.
fn refusal(record: &Value) -> bool {
    let message = record["message"].as_str().unwrap_or_default();
    ["connection refused", "connection closed", "call refused", "certificate refused"].contains(&message)
}

/// Whether it is of the attempt that `seen` tells of, as its maker saw it.
fn of(record: &Value, seen: &Value) -> bool {
    if seen["decision"].is_string() {
        return record["decision_id"] == seen["decision"];
    }
    // Ports come back. A connection that was answered on is none that was refused, whoever had its address.
    let may_be = seen["outcome"] == "disconnected" || record["message"] != "connection refused";
    may_be && seen["local"].is_string() && record["peer_addr"] == seen["local"]
}

/// The server's records, once each of these attempts has its refusal among them; without it, when patience ends.
pub(crate) async fn complete(server: &Node, attempts: &[&Value]) -> Outcome<Vec<Value>> {
    let what = format!("'{}': {} refusals", server.name(), attempts.len());
    let complete = eventually(&what, Duration::from_secs(10), || async {
        let records = server.records().await?;
        let refused = |seen: &&Value| records.iter().any(|record| refusal(record) && of(record, seen));
        Ok(attempts.iter().all(refused).then_some(records))
    });
    match complete.await {
        Ok(records) => Ok(records),
        // Whoever asks tells which are missing.
        Err(_) => server.records().await,
    }
}

/// The only refusal of this attempt that the server has on record.
pub(crate) fn only<'a>(records: &'a [Value], seen: &Value) -> Result<&'a Value, String> {
    let mut found = of_attempt(records, seen);
    match (found.next(), found.next()) {
        (Some(record), None) => Ok(record),
        (None, _) => Err(format!("no record; the other side saw {seen}")),
        (Some(first), Some(second)) => Err(format!("two records: {first} and {second}")),
    }
}

/// That the server has refused this attempt nothing.
pub(crate) fn none(records: &[Value], seen: &Value) -> Result<(), String> {
    of_attempt(records, seen).next().map_or(Ok(()), |record| Err(format!("refused: {record}")))
}

fn of_attempt<'a>(records: &'a [Value], seen: &Value) -> impl Iterator<Item = &'a Value> {
    records.iter().filter(move |record| refusal(record) && of(record, seen))
}

/// Refusals that belong to none of these attempts. A peer that leaves in the middle of its handshake, as a program does that
/// has done its work, was refused nothing.
pub(crate) fn others<'a>(records: &'a [Value], attempts: &[&Value]) -> Vec<&'a Value> {
    let has_left = |record: &Value| record["reason"] == "PEER_CONNECTION_CLOSED";
    let is_nobodys = |record: &Value| !attempts.iter().any(|seen| of(record, seen));
    let nobodys = |record: &&Value| refusal(record) && !has_left(record) && is_nobodys(record);
    records.iter().filter(nobodys).collect()
}
