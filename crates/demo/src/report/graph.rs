//! The call graph as inline SVG, once wide and once tall; the style sheet shows the one that fits.
//!
//! The places of the market's own parties are chosen by hand, since a drawing that people read every day should not
//! move about; a party that has no place gets one in a row below.

use crate::facts::{Edge, Facts, Party, PartyKind};

use super::tables::tls_version;
use super::{esc, grouped, push};

/// A drawing's measures and places.
struct Layout {
    class: &'static str,
    width: f64,
    height: f64,
    /// Size of a box.
    node: (f64, f64),
    /// Centre of each party's box.
    places: &'static [(&'static str, f64, f64)],
    /// Where along an edge its label is, and how it is shifted: caller, callee, share, x, y, anchor.
    labels: &'static [(&'static str, &'static str, f64, f64, f64, &'static str)],
    /// Top of the row for parties without a place.
    spare: f64,
    /// Height of one line of a label.
    line: f64,
}

const WIDE: Layout = Layout {
    class: "wide",
    width: 1160.0,
    height: 470.0,
    node: (148.0, 56.0),
    places: &[
        ("dev", 80.0, 140.0),
        ("storefront", 330.0, 140.0),
        ("orders", 580.0, 140.0),
        ("inventory", 830.0, 140.0),
        ("payments", 830.0, 285.0),
        ("ledger", 1080.0, 285.0),
        ("reports", 1080.0, 430.0),
        ("auditor", 830.0, 430.0),
        ("intern", 580.0, 430.0),
        ("nobody", 330.0, 285.0),
        ("impostor", 80.0, 285.0),
    ],
    labels: &[
        ("orders", "payments", 0.5, 16.0, -22.0, "start"),
        ("intern", "payments", 0.5, 12.0, 6.0, "start"),
        ("nobody", "payments", 0.4, 0.0, -14.0, "middle"),
        ("impostor", "storefront", 0.5, 14.0, 4.0, "start"),
        ("reports", "ledger", 0.5, -10.0, -14.0, "end"),
        ("auditor", "ledger", 0.5, -16.0, -24.0, "end"),
    ],
    spare: 520.0,
    line: 14.0,
};

const TALL: Layout = Layout {
    class: "tall",
    width: 360.0,
    height: 830.0,
    node: (112.0, 52.0),
    places: &[
        ("dev", 62.0, 118.0),
        ("impostor", 298.0, 118.0),
        ("storefront", 62.0, 256.0),
        ("nobody", 298.0, 394.0),
        ("orders", 62.0, 394.0),
        ("inventory", 62.0, 532.0),
        ("payments", 240.0, 532.0),
        ("ledger", 240.0, 670.0),
        ("intern", 62.0, 670.0),
        ("reports", 300.0, 800.0),
        ("auditor", 62.0, 800.0),
    ],
    labels: &[
        ("impostor", "storefront", 0.5, 14.0, 6.0, "start"),
        ("dev", "storefront", 0.5, 8.0, -14.0, "start"),
        ("storefront", "orders", 0.5, 8.0, -14.0, "start"),
        ("orders", "inventory", 0.6, 6.0, -4.0, "start"),
        ("orders", "payments", 0.3, 14.0, -14.0, "start"),
        ("nobody", "payments", 0.0, 66.0, 15.0, "end"),
        ("payments", "ledger", 0.5, 8.0, -14.0, "start"),
        ("intern", "payments", 0.5, -14.0, -6.0, "end"),
        ("reports", "ledger", 0.45, -8.0, -8.0, "end"),
        ("auditor", "ledger", 0.6, -16.0, -22.0, "end"),
        ("auditor", "reports", 0.5, 0.0, -32.0, "middle"),
    ],
    spare: 880.0,
    line: 13.0,
};

pub(super) fn draw(out: &mut String, facts: &Facts) {
    for layout in [&WIDE, &TALL] {
        drawing(out, facts, layout);
    }
    caption(out, facts);
}

/// Look-ups that would only clutter the drawing; the caption names them, and the table has them.
fn is_aside(edge: &Edge) -> bool {
    edge.caller == "auditor"
        && matches!(edge.callee.as_str(), "orders" | "inventory")
        && edge.refused.is_none()
}

/// Says which edges are not drawn.
fn caption(out: &mut String, facts: &Facts) {
    let aside: Vec<String> = facts
        .edges
        .iter()
        .filter(|edge| is_aside(edge))
        .map(|edge| format!("{} → {} ({})", edge.caller, edge.callee, grouped(edge.calls)))
        .collect();
    if !aside.is_empty() {
        push(
            out,
            format_args!("<p class=\"aside\">Not drawn: {}, for the audit.</p>", esc(&aside.join(", "))),
        );
    }
}

fn drawing(out: &mut String, facts: &Facts, layout: &Layout) {
    let nodes: Vec<&Party> = facts.parties.iter().filter(|party| party.kind != PartyKind::Issuer).collect();
    let placed = place(layout, &nodes);
    let lowest = placed.iter().map(|(_, _, y)| *y + layout.node.1 / 2.0 + 8.0).fold(0.0, f64::max);
    let height = layout.height.max(lowest);
    push(
        out,
        format_args!(
            "<svg class=\"graph {}\" viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"Call graph\">",
            layout.class, layout.width
        ),
    );
    let find = |name: &str| placed.iter().find(|(party, _, _)| party.name == name).map(|(_, x, y)| (*x, *y));
    // Labels last, so that no line runs through one.
    let mut labels = String::new();
    for edge in facts.edges.iter().filter(|edge| !is_aside(edge)) {
        if let (Some(from), Some(to)) = (find(&edge.caller), find(&edge.callee)) {
            line(out, &mut labels, layout, edge, from, to);
        }
    }
    issuer(out, facts, layout);
    for (party, x, y) in &placed {
        node(out, facts, layout, party, (*x, *y));
    }
    out.push_str(&labels);
    out.push_str("</svg>");
}

fn place<'a>(layout: &Layout, nodes: &[&'a Party]) -> Vec<(&'a Party, f64, f64)> {
    let (step, left) = (layout.node.0 + 10.0, layout.node.0 / 2.0 + 4.0);
    let (mut x, mut y) = (left, layout.spare);
    let mut placed = Vec::with_capacity(nodes.len());
    for party in nodes {
        if let Some((_, x, y)) = layout.places.iter().find(|(name, _, _)| *name == party.name) {
            placed.push((*party, *x, *y));
            continue;
        }
        placed.push((*party, x, y));
        x += step;
        if x + left > layout.width {
            (x, y) = (left, y + layout.node.1 + 14.0);
        }
    }
    placed
}

fn issuer(out: &mut String, facts: &Facts, layout: &Layout) {
    let Some(issuer) = facts.parties.iter().find(|party| party.kind == PartyKind::Issuer) else { return };
    let count = |origin| facts.certificates.iter().filter(|c| c.origin == origin).count();
    let tall = layout.class == "tall";
    push(
        out,
        format_args!(
            "<g class=\"node issuer\" data-party=\"{}\"><rect class=\"box\" x=\"4\" y=\"4\" width=\"{}\" height=\"{}\" \
             rx=\"8\"/><text class=\"name\" x=\"18\" y=\"28\">{}</text><text class=\"id\" x=\"{}\" y=\"28\">{}</text>",
            esc(&issuer.name),
            layout.width - 8.0,
            if tall { 64 } else { 56 },
            esc(&issuer.name),
            if tall { 78 } else { 90 },
            esc(issuer.spiffe_id.as_deref().unwrap_or_default())
        ),
    );
    push(
        out,
        format_args!(
            "<text class=\"renewed\" x=\"18\" y=\"{}\">{}{} enrolled, {} renewed, {} recovered</text></g>",
            if tall { 52 } else { 47 },
            if tall { "" } else { "certificates for all below: " },
            count("enroll"),
            count("renew"),
            count("recover")
        ),
    );
}

fn node(out: &mut String, facts: &Facts, layout: &Layout, party: &Party, (x, y): (f64, f64)) {
    let (width, height) = layout.node;
    let kind = match party.kind {
        PartyKind::Issuer => "issuer",
        PartyKind::Service => "service",
        PartyKind::Client => "client",
        PartyKind::Hostile => "hostile",
    };
    let id = party.spiffe_id.as_deref();
    let trust_domain = format!("spiffe://{}", facts.trust_domain);
    let path = id.map_or("no certificate", |id| id.strip_prefix(&trust_domain).unwrap_or(id));
    push(
        out,
        format_args!(
            "<g class=\"node {kind}\" data-party=\"{}\"><title>{}</title>\
             <rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\
             <text class=\"name\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text class=\"id\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            esc(&party.name),
            esc(id.unwrap_or("no certificate")),
            x - width / 2.0,
            y - height / 2.0,
            y - 6.0,
            esc(&party.name),
            y + 8.0,
            esc(path)
        ),
    );
    let renewed = id.map_or(0, |id| facts.issued(id, "renew"));
    if party.kind == PartyKind::Service {
        push(
            out,
            format_args!(
                "<text class=\"renewed\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">renewed {renewed} ×</text>",
                y + 21.0
            ),
        );
    }
    out.push_str("</g>");
}

fn line(
    out: &mut String,
    labels: &mut String,
    layout: &Layout,
    edge: &Edge,
    from: (f64, f64),
    to: (f64, f64),
) {
    let (x1, y1) = border(layout, from, to, 2.0);
    let (x2, y2) = border(layout, to, from, 4.0);
    let class = if edge.refused.is_some() { "edge refused" } else { "edge" };
    push(
        out,
        format_args!(
            "<g class=\"{class}\" data-edge=\"{}-{}\"><path class=\"line\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>",
            esc(&edge.caller),
            esc(&edge.callee)
        ),
    );
    let length = ((x2 - x1).powi(2) + (y2 - y1).powi(2)).sqrt().max(1.0);
    let (ux, uy) = ((x2 - x1) / length, (y2 - y1) / length);
    let (bx, by) = (x2 - 9.0 * ux, y2 - 9.0 * uy);
    push(
        out,
        format_args!(
            "<path class=\"tip\" d=\"M{x2:.1} {y2:.1}L{:.1} {:.1}L{:.1} {:.1}Z\"/></g>",
            bx - 4.5 * uy,
            by + 4.5 * ux,
            bx + 4.5 * uy,
            by - 4.5 * ux
        ),
    );
    let (share, dx, dy, anchor) = layout
        .labels
        .iter()
        .find(|(caller, callee, ..)| *caller == edge.caller && *callee == edge.callee)
        .map_or((0.5, 0.0, -2.0 * layout.line - 6.0, "middle"), |(_, _, share, dx, dy, anchor)| {
            (*share, *dx, *dy, *anchor)
        });
    label(labels, layout, edge, class, (x1 + (x2 - x1) * share + dx, y1 + (y2 - y1) * share + dy), anchor);
}

fn label(out: &mut String, layout: &Layout, edge: &Edge, class: &str, (x, y): (f64, f64), anchor: &str) {
    let mut lines = Vec::new();
    if let Some(reason) = &edge.refused {
        lines.push(reason.clone());
    }
    if let Some(tls) = &edge.tls {
        lines.push(tls_version(tls).to_owned());
    }
    if let Some(group) = &edge.group {
        lines.push(group.clone());
    }
    if edge.refused.is_none() {
        lines.push(format!("{} {}", grouped(edge.calls), if edge.calls == 1 { "call" } else { "calls" }));
    }
    push(out, format_args!("<g class=\"{class}\">"));
    let mut y = y;
    for text in lines {
        push(
            out,
            format_args!(
                "<text class=\"label\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
                esc(&text)
            ),
        );
        y += layout.line;
    }
    out.push_str("</g>");
}

/// Where the line from the middle of the box at `from` towards `to` leaves the box, plus a gap.
fn border(layout: &Layout, from: (f64, f64), to: (f64, f64), gap: f64) -> (f64, f64) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (half_width, half_height) = (layout.node.0 / 2.0 + gap, layout.node.1 / 2.0 + gap);
    let by_x = if dx == 0.0 { f64::INFINITY } else { half_width / dx.abs() };
    let by_y = if dy == 0.0 { f64::INFINITY } else { half_height / dy.abs() };
    let share = by_x.min(by_y).min(1.0);
    (from.0 + dx * share, from.1 + dy * share)
}
