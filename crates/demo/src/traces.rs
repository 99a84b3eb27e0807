//! What the spans of a run say: which calls were made and how they ended, and one order's trace as a tree.

use std::collections::{BTreeMap, BTreeSet};

use avouch_text::hex;

use crate::facts::{Span, Trace};
use crate::otlp::{Kind, SpanRecord};

/// gRPC statuses with which a call has failed, as opposed to being answered.
const FAILURES: &[&str] = &[
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "UNKNOWN",
];

/// A call one of our processes made, as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `service.name` of the caller.
    pub caller: String,
    /// SPIFFE ID of the server, if the client's span names it.
    pub server_id: Option<String>,
    /// `package.Service/Method`.
    pub method: String,
    /// gRPC status.
    pub status: String,
    /// Nanoseconds since the epoch.
    pub start_ns: u64,
    /// Nanoseconds since the epoch.
    pub end_ns: u64,
}

impl Call {
    /// Whether it failed: the other end being refused, away or broken. An answer such as NOT_FOUND is none.
    #[must_use]
    pub fn failed(&self) -> bool {
        FAILURES.contains(&self.status.as_str())
    }
}

/// All calls, as their clients saw them.
#[must_use]
pub fn calls(spans: &[SpanRecord]) -> Vec<Call> {
    spans
        .iter()
        .filter(|span| span.kind == Kind::Client)
        .filter_map(|span| {
            Some(Call {
                caller: span.service.to_string(),
                server_id: span.attribute("avouch.peer.id").map(str::to_owned),
                method: span.attribute("rpc.method")?.to_owned(),
                status: span.attribute("rpc.response.status_code").unwrap_or("UNKNOWN").to_owned(),
                start_ns: span.start_ns,
                end_ns: span.end_ns,
            })
        })
        .collect()
}

/// The trace with this ID, as one tree.
///
/// # Errors
/// When it is not one connected tree: no root or several, a span whose parent is missing, or a circle.
pub fn tree(spans: &[SpanRecord], trace_id: &[u8]) -> Result<Trace, String> {
    let own: Vec<&SpanRecord> = spans.iter().filter(|span| span.trace_id == trace_id).collect();
    let known: BTreeSet<&[u8]> = own.iter().map(|span| span.span_id.as_slice()).collect();
    let (mut roots, mut children) = (Vec::new(), BTreeMap::<&[u8], Vec<&SpanRecord>>::new());
    for span in &own {
        if span.parent_id.is_empty() {
            roots.push(*span);
        } else if known.contains(span.parent_id.as_slice()) {
            children.entry(&span.parent_id).or_default().push(span);
        } else {
            return Err(format!("the parent of {} `{}` is missing", span.service, span.name));
        }
    }
    let [root] = roots.as_slice() else { return Err(format!("{} roots instead of one", roots.len())) };
    for siblings in children.values_mut() {
        siblings.sort_by_key(|span| span.start_ns);
    }
    let begin = own.iter().map(|span| span.start_ns).min().unwrap_or(0);
    let end = own.iter().map(|span| span.end_ns).max().unwrap_or(begin);
    let mut ordered = Vec::with_capacity(own.len());
    let mut open = vec![(*root, 0)];
    while let Some((span, depth)) = open.pop() {
        ordered.push(drawn(span, depth, begin));
        let below = children.remove(span.span_id.as_slice()).unwrap_or_default();
        open.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
    }
    if ordered.len() != own.len() {
        return Err(format!("{} of {} spans are not below the root", own.len() - ordered.len(), own.len()));
    }
    let services: BTreeSet<String> = own.iter().map(|span| span.service.to_string()).collect();
    Ok(Trace {
        trace_id: hex::encode(trace_id),
        services: services.into_iter().collect(),
        spans: ordered,
        lasted_us: end.saturating_sub(begin) / 1_000,
    })
}

fn drawn(span: &SpanRecord, depth: usize, begin: u64) -> Span {
    let (kind, server) = match span.kind {
        Kind::Server => ("server", true),
        Kind::Client => ("client", false),
        Kind::Internal => ("internal", false),
    };
    Span {
        service: span.service.to_string(),
        name: span.name.clone(),
        kind: kind.to_owned(),
        depth,
        start_us: span.start_ns.saturating_sub(begin) / 1_000,
        lasted_us: span.end_ns.saturating_sub(span.start_ns) / 1_000,
        caller: span.attribute("avouch.peer.id").filter(|_| server).map(str::to_owned),
        decision: span.attribute("avouch.decision").filter(|_| server).map(str::to_owned),
        status: span.attribute("rpc.response.status_code").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(service: &str, id: u8, parent: u8, start_ns: u64) -> SpanRecord {
        SpanRecord {
            service: service.into(),
            trace_id: vec![7; 16],
            span_id: vec![id; 8],
            parent_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
            name: format!("span {id}"),
            kind: Kind::Internal,
            start_ns,
            end_ns: start_ns + 5_000,
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn siblings_are_in_order_of_time_and_children_below_their_parents() {
        let spans = [
            span("b", 4, 2, 40_000),
            span("a", 1, 0, 10_000),
            span("b", 3, 1, 30_000),
            span("b", 2, 1, 20_000),
        ];
        let trace = tree(&spans, &[7; 16]).unwrap();
        let order: Vec<_> = trace.spans.iter().map(|s| (s.name.as_str(), s.depth, s.start_us)).collect();
        assert_eq!(order, [("span 1", 0, 0), ("span 2", 1, 10), ("span 4", 2, 30), ("span 3", 1, 20)]);
        assert_eq!(trace.services, ["a", "b"]);
        assert_eq!(trace.lasted_us, 35);
    }

    #[test]
    fn spans_of_other_traces_do_not_count() {
        let mut other = span("x", 9, 8, 0);
        other.trace_id = vec![8; 16];
        assert_eq!(tree(&[other, span("a", 1, 0, 0)], &[7; 16]).unwrap().spans.len(), 1);
    }

    #[test]
    fn what_is_not_one_tree_is_refused() {
        assert!(tree(&[], &[7; 16]).unwrap_err().contains("0 roots"));
        assert!(tree(&[span("a", 1, 0, 0), span("a", 2, 0, 0)], &[7; 16]).unwrap_err().contains("2 roots"));
        assert!(tree(&[span("a", 1, 0, 0), span("a", 2, 5, 0)], &[7; 16]).unwrap_err().contains("missing"));
        let circle = [span("a", 1, 0, 0), span("a", 2, 3, 0), span("a", 3, 2, 0)];
        assert!(tree(&circle, &[7; 16]).unwrap_err().contains("not below the root"));
    }

    #[test]
    fn an_answer_is_no_failure_and_silence_is_one() {
        let mut call = span("orders", 1, 0, 0);
        call.kind = Kind::Client;
        call.attributes.insert("rpc.method".into(), "a.B/C".into());
        assert!(calls(&[call.clone()])[0].failed());
        for (status, failed) in
            [("OK", false), ("NOT_FOUND", false), ("UNAVAILABLE", true), ("UNAUTHENTICATED", true)]
        {
            call.attributes.insert("rpc.response.status_code".into(), status.into());
            assert_eq!(calls(&[call.clone()])[0].failed(), failed, "{status}");
        }
    }
}
