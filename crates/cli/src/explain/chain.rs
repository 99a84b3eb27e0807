//! The calls of one trace, from all processes that recorded it.

use super::find;
use super::page::Page;
use avouch_fleet::Fleet;
use serde::Serialize;

/// The most calls of a chain that are shown to people.
const SHOWN: usize = 40;

/// A call of a trace.
#[derive(Debug, Serialize)]
pub(super) struct Hop {
    time: String,
    caller: String,
    callee: String,
    method: String,
    verdict: String,
    reason: String,
    decision: String,
    /// Whether it is the one that was asked about.
    this: bool,
}

/// The calls of a trace in the order of their times.
#[derive(Debug, Serialize)]
pub(super) struct Chain {
    trace_id: String,
    calls: Vec<Hop>,
    /// The number of processes that did not answer: the chain may have gaps.
    silent: usize,
}

impl Chain {
    pub(super) fn of(fleet: &Fleet, trace_id: &str, decision: &str) -> Option<Self> {
        if trace_id.is_empty() {
            return None;
        }
        let calls = find::traced(fleet, trace_id).into_iter().map(|held| Hop {
            time: held.record.time.clone(),
            caller: held.record.peer.clone(),
            callee: held.holder.id(fleet).to_owned(),
            method: held.record.method.clone(),
            verdict: held.record.verdict.clone(),
            reason: held.record.reason.clone(),
            decision: held.record.id.clone(),
            this: held.record.id == decision,
        });
        let silent = fleet.silent().count() + usize::from(fleet.issuer.is_none());
        Some(Self { trace_id: trace_id.to_owned(), calls: calls.collect(), silent })
    }

    pub(super) fn write(&self, page: &mut Page) {
        page.fact("call chain", &format!("trace {}", self.trace_id));
        for hop in self.calls.iter().take(SHOWN) {
            let clock = hop.time.split_once('T').map_or(hop.time.as_str(), |(_, clock)| clock);
            let verdict = if hop.reason.is_empty() { &hop.verdict } else { &hop.reason };
            let this = if hop.this { "  ◀ this one" } else { "" };
            let line = format!("{clock}  {} → {} {}  {verdict}{this}", hop.caller, hop.callee, hop.method);
            page.fact("call chain", &line);
        }
        if self.calls.len() > SHOWN {
            page.fact("call chain", &format!("and {} more, which --json lists", self.calls.len() - SHOWN));
        }
        if self.silent > 0 {
            page.fact("call chain", &format!("{} did not answer; there may be gaps", self.silent));
        }
    }
}
