//! Certificates over time: one lane per process, a bar for the life of each certificate, hatched where a process
//! was dead. Positions are percentages, so that the same markup serves every width.

use crate::facts::{Facts, Party, PartyKind};

use super::{esc, percent, push};

/// Distance between two marks of the axis.
const TICK_MS: u64 = 10_000;

pub(super) fn draw(out: &mut String, facts: &Facts) {
    let end = facts.lasted_ms.max(1);
    push(
        out,
        format_args!(
            "<p>Each bar is one certificate, from its issue to its end {} s later; a new one takes over half-way. \
             Nothing restarts for it.</p><ul class=\"legend\"><li><i class=\"enroll\"></i>enrolled</li>\
             <li><i class=\"renew\"></i>renewed</li><li><i class=\"recover\"></i>recovered after its end</li>\
             <li><i class=\"down\"></i>killed</li></ul>",
            facts.svid_seconds
        ),
    );
    let lanes = facts.parties.iter().filter(|p| matches!(p.kind, PartyKind::Service | PartyKind::Issuer));
    for party in lanes {
        lane(out, facts, party, end);
    }
    axis(out, end);
}

fn lane(out: &mut String, facts: &Facts, party: &Party, end: u64) {
    push(
        out,
        format_args!(
            "<div class=\"lane\" data-party=\"{0}\"><div class=\"who\">{0}</div><div class=\"track\">",
            esc(&party.name)
        ),
    );
    let id = party.spiffe_id.as_deref().unwrap_or_default();
    let own = facts.certificates.iter().filter(|c| c.spiffe_id == id);
    for (nth, certificate) in own.enumerate() {
        let from = u64::try_from(certificate.issued_ms).unwrap_or(0).min(end);
        let to = u64::try_from(certificate.expires_ms).unwrap_or(0).clamp(from, end);
        let row = if nth.is_multiple_of(2) { "even" } else { "odd" };
        push(
            out,
            format_args!(
                "<i class=\"life {row} {}\" style=\"left:{};width:{}\" title=\"{}: {} to {}, serial {}\"></i>",
                origin_class(&certificate.origin),
                percent(from, end),
                percent(to - from, end),
                esc(&certificate.origin),
                clock(from),
                clock(u64::try_from(certificate.expires_ms).unwrap_or(0)),
                esc(&certificate.serial)
            ),
        );
    }
    for kill in facts.kills.iter().filter(|kill| kill.party == party.name) {
        let killed = kill.killed_ms.min(end);
        let ready = kill.ready_ms.clamp(killed, end);
        push(
            out,
            format_args!(
                "<i class=\"down\" style=\"left:{};width:{}\" title=\"killed at {}, ready again at {}\"></i>",
                percent(killed, end),
                percent(ready - killed, end),
                clock(killed),
                clock(kill.ready_ms)
            ),
        );
    }
    push(out, format_args!("</div><div class=\"sum\">{}</div></div>", esc(&summary(facts, party, id))));
}

/// The class of an origin; a word that is not known must not reach an attribute as a class.
fn origin_class(origin: &str) -> &'static str {
    match origin {
        "enroll" => "enroll",
        "renew" => "renew",
        "recover" => "recover",
        "self" => "self",
        _ => "",
    }
}

fn summary(facts: &Facts, party: &Party, id: &str) -> String {
    if party.kind == PartyKind::Issuer {
        return format!("{} of its own", facts.issued(id, "self"));
    }
    let mut text = format!("{} renewals", facts.issued(id, "renew"));
    let recovered = facts.issued(id, "recover");
    if recovered > 0 {
        text.push_str(&format!(", {recovered} recovery"));
    }
    text
}

fn axis(out: &mut String, end: u64) {
    out.push_str("<div class=\"lane axis\"><div class=\"who\"></div><div class=\"track\">");
    let mut at = 0;
    while at <= end {
        push(out, format_args!("<span style=\"left:{}\">{} s</span>", percent(at, end), at / 1_000));
        at += TICK_MS.max(end / 10 / TICK_MS * TICK_MS);
    }
    out.push_str("</div><div class=\"sum\"></div></div>");
}

fn clock(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}
