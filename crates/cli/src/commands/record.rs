//! One record as one line for people.

use avouch_api::observe::v1::{Connection, Decision};
use avouch_fleet::{Fleet, Observed, Recorded};
use avouch_text::{clean, shorten};

/// Time, who made it, what happened, and the ids to ask on with. Everything in it is others' text, made harmless.
pub(crate) fn text(fleet: &Fleet, record: &Observed<'_>) -> String {
    let (what, ids) = match record.record {
        Recorded::Connection(connection) => (of_connection(fleet, connection), connection.id.clone()),
        Recorded::Decision(decision) => (of_decision(fleet, decision), ids(decision)),
    };
    clean(&format!("{}  {}  {what}  [{ids}]", record.time(), fleet.short(record.by)))
}

fn of_connection(fleet: &Fleet, connection: &Connection) -> String {
    let who = shorten(or(fleet.short(&connection.peer_id), "somebody"));
    let from = shorten(or(&connection.peer_address, "an unknown address"));
    let more = format!("{}{}", ended(connection), suppressed(connection.suppressed));
    if connection.verdict != "accepted" {
        let why = reason(&connection.reason, &connection.detail);
        return format!("× {who} from {from} refused in the handshake: {why}{more}");
    }
    let tls = [connection.tls_version.as_str(), connection.group.as_str()].join(" ");
    let millis = connection.handshake_micros as f64 / 1_000.0;
    format!("√ {who} connected from {from}, {}, {millis:.1} ms{more}", tls.trim())
}

fn ended(connection: &Connection) -> String {
    match (connection.end_reason.as_str(), connection.ended_at.as_str()) {
        ("", _) => String::new(),
        (why, at) => format!("; ended {at}: {}", reason(why, &connection.end_detail)),
    }
}

fn of_decision(fleet: &Fleet, decision: &Decision) -> String {
    let mark = match decision.verdict.as_str() {
        "allowed" => "√",
        "audited" => "‼",
        _ => "×",
    };
    let who = shorten(or(fleet.short(&decision.peer), "somebody"));
    let method = shorten(decision.method.trim_start_matches('/'));
    if decision.verdict == "allowed" {
        let role = if decision.have.is_empty() {
            String::new()
        } else {
            format!(" as {}", shorten(&decision.have.join(", ")))
        };
        return format!("{mark} {who} → {method} allowed{role}{}", suppressed(decision.suppressed));
    }
    let mut why = reason(&decision.reason, &decision.detail);
    if !decision.need.is_empty() {
        let have = if decision.have.is_empty() { "nothing".to_owned() } else { decision.have.join(", ") };
        why.push_str(&format!(", need {}, have {}", shorten(&decision.need.join(" or ")), shorten(&have)));
    }
    if !decision.place.is_empty() {
        why.push_str(&format!(" ({})", shorten(&decision.place)));
    }
    let colon = if why.is_empty() { "" } else { ": " };
    format!("{mark} {who} → {method} {}{colon}{why}{}", decision.verdict, suppressed(decision.suppressed))
}

fn reason(reason: &str, detail: &str) -> String {
    let (reason, detail) = (shorten(reason), shorten(detail));
    match (reason.as_str(), detail.as_str()) {
        (_, "") => reason,
        ("", _) => detail,
        _ => format!("{reason}, {detail}"),
    }
}

fn suppressed(count: u64) -> String {
    if count > 0 { format!(" ({count} like it before)") } else { String::new() }
}

fn ids(decision: &Decision) -> String {
    let trace =
        if decision.trace_id.is_empty() { String::new() } else { format!("trace {}", decision.trace_id) };
    let all = [decision.id.clone(), decision.connection_id.clone(), trace];
    let shown = all.iter().filter(|id| !id.is_empty()).map(|id| shorten(id));
    shown.collect::<Vec<_>>().join(" ")
}

fn or<'a>(text: &'a str, instead: &'a str) -> &'a str {
    if text.is_empty() { instead } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet_sample as sample;
    use avouch_api::observe::v1::Record;

    fn line(record: &Record) -> String {
        let fleet = sample::fleet();
        let by = sample::id("orders");
        text(&fleet, &Observed::new(&by, "", record).unwrap())
    }

    #[test]
    fn a_refused_handshake_says_who_from_where_and_why() {
        let refused = Connection {
            verdict: "refused".to_owned(),
            reason: "CERT_EXPIRED".to_owned(),
            detail: "the leaf has expired".to_owned(),
            ..sample::connection(9, "late", 1)
        };
        let record = Record { connection: Some(refused.clone()), decision: None };
        assert_eq!(
            line(&record),
            "2027-01-15T08:00:01.000Z  orders  × late from 127.0.0.1:50009 refused in the handshake: CERT_EXPIRED, \
             the leaf has expired  [conn-0000000000000009]"
        );
        let nobody = Connection { peer_id: String::new(), peer_address: String::new(), ..refused };
        let record = Record { connection: Some(nobody), decision: None };
        assert!(line(&record).contains("× somebody from an unknown address"), "{}", line(&record));
    }

    #[test]
    fn a_connection_that_was_ended_says_why() {
        let ended = Connection {
            ended_at: "2027-01-15T08:00:09.000Z".to_owned(),
            end_reason: "HANDSHAKE_TIMEOUT".to_owned(),
            ..sample::connection(9, "slow", 1)
        };
        let text = line(&Record { connection: Some(ended), decision: None });
        assert!(text.contains("; ended 2027-01-15T08:00:09.000Z: HANDSHAKE_TIMEOUT"), "{text}");
    }

    #[test]
    fn an_allowed_call_says_as_what() {
        let (need, have) = (vec!["reader".to_owned()], vec!["reader".to_owned()]);
        let allowed = Decision { need, have, ..sample::decision("dev", "/a.B/C", 1) };
        let text = line(&Record { decision: Some(allowed), connection: None });
        assert_eq!(text, "2027-01-15T08:00:01.000Z  orders  √ dev → a.B/C allowed as reader  []");
    }

    #[test]
    fn a_verdict_that_is_not_known_is_no_permission() {
        let odd = Decision { verdict: "later".to_owned(), ..sample::decision("dev", "/a.B/C", 1) };
        let text = line(&Record { decision: Some(odd), connection: None });
        assert!(text.contains("× dev → a.B/C later"), "{text}");
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let evil = Decision { detail: "x\n\u{1b}[2Jy".to_owned(), ..sample::decision("dev", "/a\r\n/C", 1) };
        let text = line(&Record { decision: Some(evil), connection: None });
        assert!(!text.chars().any(char::is_control), "{text:?}");
        let verdict = "refused".to_owned();
        let long = Decision { detail: "x".repeat(1 << 20), verdict, ..sample::decision("dev", "/a.B/C", 1) };
        let text = line(&Record { decision: Some(long), connection: None });
        assert!(text.len() < 1_000 && text.contains("characters more"), "{text}");
    }
}
