//! One order's trace as lines of text: short enough for a terminal, complete enough to see every hop, who called
//! whom, and what was decided.
//!
//! Client spans and spans inside of processes are folded into the hop they belong to, up to a number of lines; the
//! report page shows all of them.

use crate::facts::{Span, Trace};
use crate::report::{micros, short};

/// Columns of the bar.
const BAR: u64 = 16;

/// The lines, at most `limit`.
#[must_use]
pub fn lines(trace: &Trace, trust_domain: &str, limit: usize) -> Vec<String> {
    let shown = select(trace, limit);
    let width =
        shown.iter().map(|span| label(span).chars().count() + indent(trace, span)).max().unwrap_or(0).min(38);
    shown
        .iter()
        .map(|span| {
            let label = format!("{:indent$}{}", "", label(span), indent = indent(trace, span));
            let label: String = label.chars().take(width).collect();
            let mut line =
                format!("  {label:width$} {} {:>8}", bar(span, trace.lasted_us), micros(span.lasted_us));
            if let Some(decision) = &span.decision {
                let caller = span.caller.as_deref().unwrap_or("no identity");
                let prefix = format!("spiffe://{trust_domain}/");
                line.push_str(&format!("  {} {decision}", caller.strip_prefix(&prefix).unwrap_or(caller)));
            }
            line
        })
        .collect()
}

/// The root and what servers did first; what else there is room for is left to the page.
fn select(trace: &Trace, limit: usize) -> Vec<&Span> {
    let hops: Vec<&Span> =
        trace.spans.iter().filter(|span| span.depth == 0 || span.kind == "server").collect();
    hops.into_iter().take(limit).collect()
}

/// Depth counted in shown hops: a server's span is below its client's, which is below the caller's.
fn indent(trace: &Trace, span: &Span) -> usize {
    let place = trace.spans.iter().position(|other| std::ptr::eq(other, span)).unwrap_or(0);
    let mut depth = span.depth;
    let mut hops = 0;
    for above in trace.spans.iter().take(place).rev() {
        if above.depth < depth {
            depth = above.depth;
            hops += usize::from(above.depth == 0 || above.kind == "server");
        }
    }
    hops * 2
}

fn label(span: &Span) -> String {
    match span.kind.as_str() {
        "server" => format!("{} {}", span.service, short(&span.name).split_once('/').map_or("", |(_, m)| m)),
        _ => format!("{} {}", span.service, short(&span.name)),
    }
}

fn bar(span: &Span, whole: u64) -> String {
    let whole = whole.max(1);
    let at = (span.start_us * BAR / whole).min(BAR - 1);
    let long = (span.lasted_us * BAR).div_ceil(whole).clamp(1, BAR - at);
    let (at, long) = (usize::try_from(at).unwrap_or(0), usize::try_from(long).unwrap_or(1));
    let rest = usize::try_from(BAR).unwrap_or(0).saturating_sub(at + long);
    format!("{}{}{}", "·".repeat(at), "█".repeat(long), "·".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_shows_its_caller_and_the_decision() {
        let trace = crate::sample::facts().trace.unwrap();
        let lines = lines(&trace, "market.example", 20);
        let charge = lines.iter().find(|line| line.contains("payments Charge")).unwrap();
        assert!(charge.ends_with("  orders allow"), "{charge}");
        assert!(lines[0].contains("demo first order"), "{}", lines[0]);
        assert!(lines.iter().any(|line| line.contains("issuer Enroll")));
    }

    #[test]
    fn there_are_no_more_lines_than_asked_for_and_none_is_wide() {
        let trace = crate::sample::facts().trace.unwrap();
        assert_eq!(lines(&trace, "market.example", 3).len(), 3);
        for line in lines(&trace, "market.example", 99) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn a_trace_of_no_length_is_drawn_all_the_same() {
        let mut trace = crate::sample::facts().trace.unwrap();
        trace.lasted_us = 0;
        assert!(!lines(&trace, "market.example", 9).is_empty());
    }
}
