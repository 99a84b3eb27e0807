//! Certificates over time: one lane per process, a bar for the life of each certificate, hatched where a process
//! was dead. Positions are percentages, so that the same markup serves every width.

use crate::facts::{Certificate, Facts, Party, PartyKind, Theft};

use super::{esc, micros, percent, push};

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
             <li><i class=\"down\"></i>killed</li>",
            facts.svid_seconds
        ),
    );
    if facts.theft.is_some() {
        out.push_str(
            "<li><i class=\"thief\"></i>renewed by a thief</li><li><i class=\"cut\"></i>revoked</li>",
        );
    }
    out.push_str("</ul>");
    let lanes = facts.parties.iter().filter(|p| matches!(p.kind, PartyKind::Service | PartyKind::Issuer));
    for party in lanes {
        lane(out, facts, party, end);
    }
    axis(out, end);
    if let Some(theft) = &facts.theft {
        told(out, theft);
    }
}

/// The story of the theft, in the order of the time line.
fn told(out: &mut String, theft: &Theft) {
    push(
        out,
        format_args!(
            "<p id=\"theft\">At {} the identity of {} was copied, key included; the thief renewed by it. At {} its owner \
             was back, and the fork was reported {} ms later. <code>{}</code> was durable at {}: the last of {} \
             connections of the thief was closed {} after, with {}. The owner lost none.</p>",
            clock(theft.stolen_ms),
            esc(&theft.service),
            clock(theft.forked_ms),
            theft.noticed_ms.saturating_sub(theft.forked_ms),
            esc(&theft.command),
            clock(theft.revoked_ms),
            theft.connections,
            micros(theft.cut_us),
            esc(&theft.told)
        ),
    );
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
    let theft = facts.theft.as_ref().filter(|theft| theft.service == party.name);
    let own = facts.certificates.iter().filter(|c| c.spiffe_id == id);
    for (nth, certificate) in own.enumerate() {
        let from = u64::try_from(certificate.issued_ms).unwrap_or(0).min(end);
        let to = u64::try_from(certificate.expires_ms).unwrap_or(0).clamp(from, end);
        let row = if nth.is_multiple_of(2) { "even" } else { "odd" };
        push(
            out,
            format_args!(
                "<i class=\"life {row} {}\" style=\"left:{};width:{}\" title=\"{}: {} to {}, serial {}\"></i>",
                class(certificate, theft),
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
    if let Some(theft) = theft {
        push(
            out,
            format_args!(
                "<i class=\"cut\" style=\"left:{}\" title=\"revoked at {}, the last connection closed {} later\"></i>",
                percent(theft.revoked_ms.min(end), end),
                clock(theft.revoked_ms),
                micros(theft.cut_us)
            ),
        );
    }
    push(out, format_args!("</div><div class=\"sum\">{}</div></div>", esc(&summary(facts, party, id))));
}

/// The class of a certificate: its origin's, unless a thief got it.
fn class(certificate: &Certificate, theft: Option<&Theft>) -> &'static str {
    match theft {
        Some(theft) if theft.thieves.contains(&certificate.serial) => "thief",
        _ => origin_class(&certificate.origin),
    }
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
    let theft = facts.theft.as_ref().filter(|theft| theft.service == party.name);
    let stolen = theft.map_or(0, |theft| theft.thieves.len());
    let mut text = format!("{} renewals", facts.issued(id, "renew").saturating_sub(stolen));
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
