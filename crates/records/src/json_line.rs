//! Records as lines of JSON: `kind`, then the fields of `avouch.observe.v1` under their own names and in their order,
//! without those that are empty.
//!
//! `{"kind":"connection",…}` and `{"kind":"decision",…}` are whole records. `{"kind":"end",…}` follows the line of an
//! accepted connection that was closed for what its peer did; ordinary ends are not written.

use std::fmt::Write as _;
use std::time::SystemTime;

use avouch_api::observe::v1::{Connection, Decision, Record};
use avouch_authz::Methods;
use avouch_authz::contract::Rule;
use avouch_time::timestamp;
use serde::Serialize;
use serde_json::json;

use crate::entry::Allowed;

/// The fields of a connection, a decision and an end, in the order of the proto: a JSON object that serde makes has none.
const CONNECTION: &[&str] = &[
    "id",
    "time",
    "peer_address",
    "local_address",
    "peer_id",
    "peer_serial",
    "peer_subject",
    "peer_not_before",
    "peer_not_after",
    "peer_authority",
    "verdict",
    "reason",
    "detail",
    "tls_version",
    "cipher",
    "group",
    "handshake_micros",
    "bundle_sequence",
    "ended_at",
    "end_reason",
    "end_detail",
    "suppressed",
];
const DECISION: &[&str] = &[
    "id",
    "time",
    "connection_id",
    "trace_id",
    "peer",
    "method",
    "verdict",
    "reason",
    "detail",
    "need",
    "have",
    "rule",
    "place",
    "policy_version",
    "suppressed",
];
const END: &[&str] = &["id", "peer_address", "peer_id", "ended_at", "end_reason", "end_detail"];

/// One JSON object: its kind, then those of `fields` that are not empty in `message`.
fn object(kind: &str, message: &impl Serialize, fields: &[&str]) -> String {
    // Messages of strings and numbers can always be serialized.
    let message = serde_json::to_value(message).unwrap_or_default();
    let mut text = format!("{{\"kind\":\"{kind}\"");
    for field in fields {
        let value = message.get(field).filter(|value| ![json!(""), json!(0), json!([])].contains(value));
        if let Some(value) = value {
            let _ = write!(text, ",\"{field}\":{value}");
        }
    }
    text.push('}');
    text
}

fn push_quoted(into: &mut String, value: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    into.push('"');
    if value.bytes().all(plain) {
        into.push_str(value);
    } else {
        // With its quotes cut off again.
        let quoted = serde_json::Value::from(value).to_string();
        into.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
    }
    into.push('"');
}

/// The line of a connection, without a line feed.
#[must_use]
pub fn connection(record: &Connection) -> String {
    object("connection", record, CONNECTION)
}

/// The line of a decision, without a line feed.
#[must_use]
pub fn decision(record: &Decision) -> String {
    object("decision", record, DECISION)
}

/// The line of a record, without a line feed; empty for a record of neither kind.
#[must_use]
pub fn record(record: &Record) -> String {
    match (&record.connection, &record.decision) {
        (Some(of), _) => connection(of),
        (None, Some(of)) => decision(of),
        (None, None) => String::new(),
    }
}

/// Writes the lines of allowed calls, which are by far the most: the line that [`decision`] makes of the same call, but
/// without a message in between.
#[derive(Debug, Default)]
pub(crate) struct AllowedLines {
    text: String,
    /// The time up to the second, which many calls share, and the second since the epoch that it is of.
    second: String,
    of: Option<u64>,
}

impl AllowedLines {
    pub(crate) fn write(&mut self, allowed: &Allowed, methods: &Methods) -> &str {
        self.text.clear();
        self.text.push_str("{\"kind\":\"decision\",\"time\":\"");
        self.push_time(allowed.at);
        self.text.push('"');
        // Writing to a String cannot fail.
        if let Some(via) = allowed.via {
            let _ = write!(self.text, ",\"connection_id\":\"{}\"", via.id);
        }
        if let Some(trace) = allowed.trace {
            let _ = write!(self.text, ",\"trace_id\":\"{:032x}\"", u128::from_be_bytes(trace));
        }
        self.text.push_str(",\"peer\":");
        push_quoted(&mut self.text, allowed.caller.name());
        let rule = methods.rule(allowed.method);
        if let Some(rule) = rule {
            self.text.push_str(",\"method\":");
            push_quoted(&mut self.text, rule.path);
        }
        self.text.push_str(",\"verdict\":\"allowed\"");
        if let Some(Rule::Roles(roles)) = rule.map(|rule| rule.rule) {
            self.push_list("need", roles);
        }
        if let Some(role) = allowed.role {
            self.push_list("have", &[role]);
        }
        self.text.push('}');
        &self.text
    }

    fn push_time(&mut self, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.of != Some(since.as_secs()) {
            self.second = timestamp::rfc3339(at);
            self.second.pop();
            self.of = Some(since.as_secs());
        }
        self.text.push_str(&self.second);
        let _ = write!(self.text, ".{:03}Z", since.subsec_millis());
    }

    fn push_list(&mut self, key: &str, names: &[&str]) {
        self.text.push_str(",\"");
        self.text.push_str(key);
        self.text.push_str("\":");
        for (at, name) in names.iter().enumerate() {
            self.text.push(if at == 0 { '[' } else { ',' });
            push_quoted(&mut self.text, name);
        }
        self.text.push(']');
    }
}

/// The line that tells why a connection was closed.
pub(crate) fn end(record: &Connection) -> String {
    object("end", record, END)
}

/// Reads a line of a record file; `None` for a line that is not a record of its own, such as that of an end.
///
/// # Errors
/// When it is not a JSON object of this form.
pub fn parse(line: &str) -> Result<Option<Record>, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_str(line)?;
    Ok(match value.get("kind").and_then(serde_json::Value::as_str) {
        Some("connection") => {
            Some(Record { connection: Some(serde_json::from_value(value)?), decision: None })
        }
        Some("decision") => Some(Record { connection: None, decision: Some(serde_json::from_value(value)?) }),
        _ => None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every field set: a new one does not compile here until it is.
    pub(crate) fn whole_connection() -> Connection {
        Connection {
            id: "conn-0011223344556677".into(),
            time: "2026-01-02T03:04:05.678Z".into(),
            peer_address: "192.0.2.7:40001".into(),
            local_address: "198.51.100.1:7001".into(),
            peer_id: "spiffe://market.example/orders".into(),
            peer_serial: "0a1b".into(),
            peer_subject: "CN=\"odd\\,name\"\n".into(),
            peer_not_before: "2026-01-02T03:00:00.000Z".into(),
            peer_not_after: "2026-01-02T04:00:00.000Z".into(),
            peer_authority: "c0ffee".into(),
            verdict: "refused".into(),
            reason: "CERT_EXPIRED".into(),
            detail: "the leaf".into(),
            tls_version: "TLSv1_3".into(),
            cipher: "TLS13_AES_256_GCM_SHA384".into(),
            group: "X25519MLKEM768".into(),
            handshake_micros: 1234,
            bundle_sequence: 7,
            ended_at: "2026-01-02T03:05:05.678Z".into(),
            end_reason: "RATE_LIMITED".into(),
            end_detail: "too much".into(),
            suppressed: 3,
        }
    }

    fn whole_decision() -> Decision {
        Decision {
            id: "d-0011223344556677".into(),
            time: "2026-01-02T03:04:05.678Z".into(),
            connection_id: "conn-0011223344556677".into(),
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            peer: "spiffe://market.example/orders".into(),
            method: "/market.ledger.v1.Ledger/Append".into(),
            verdict: "refused".into(),
            reason: "ROLE_MISSING".into(),
            detail: "a detail".into(),
            need: vec!["ledger-writer".into(), "auditor".into()],
            have: vec!["ledger-reader".into()],
            rule: "roles: [ledger-writer, auditor]".into(),
            place: "policy.toml:3".into(),
            policy_version: "0123456789ab".into(),
            suppressed: 9,
        }
    }

    #[test]
    fn every_field_of_a_whole_record_is_written_and_read_again() {
        for whole in [
            Record { connection: Some(whole_connection()), decision: None },
            Record { connection: None, decision: Some(whole_decision()) },
        ] {
            assert_eq!(parse(&record(&whole)).unwrap(), Some(whole));
        }
    }

    #[test]
    fn the_lines_are_these() {
        assert_eq!(
            decision(&whole_decision()),
            r#"{"kind":"decision","id":"d-0011223344556677","time":"2026-01-02T03:04:05.678Z","connection_id":"conn-0011223344556677","trace_id":"0af7651916cd43dd8448eb211c80319c","peer":"spiffe://market.example/orders","method":"/market.ledger.v1.Ledger/Append","verdict":"refused","reason":"ROLE_MISSING","detail":"a detail","need":["ledger-writer","auditor"],"have":["ledger-reader"],"rule":"roles: [ledger-writer, auditor]","place":"policy.toml:3","policy_version":"0123456789ab","suppressed":9}"#
        );
        let accepted = Connection {
            verdict: "accepted".into(),
            reason: String::new(),
            detail: String::new(),
            peer_subject: String::new(),
            suppressed: 0,
            ..whole_connection()
        };
        assert_eq!(
            connection(&accepted),
            r#"{"kind":"connection","id":"conn-0011223344556677","time":"2026-01-02T03:04:05.678Z","peer_address":"192.0.2.7:40001","local_address":"198.51.100.1:7001","peer_id":"spiffe://market.example/orders","peer_serial":"0a1b","peer_not_before":"2026-01-02T03:00:00.000Z","peer_not_after":"2026-01-02T04:00:00.000Z","peer_authority":"c0ffee","verdict":"accepted","tls_version":"TLSv1_3","cipher":"TLS13_AES_256_GCM_SHA384","group":"X25519MLKEM768","handshake_micros":1234,"bundle_sequence":7,"ended_at":"2026-01-02T03:05:05.678Z","end_reason":"RATE_LIMITED","end_detail":"too much"}"#
        );
        assert_eq!(
            end(&accepted),
            r#"{"kind":"end","id":"conn-0011223344556677","peer_address":"192.0.2.7:40001","peer_id":"spiffe://market.example/orders","ended_at":"2026-01-02T03:05:05.678Z","end_reason":"RATE_LIMITED","end_detail":"too much"}"#
        );
        assert_eq!(parse(&end(&accepted)).unwrap(), None);
    }

    #[test]
    fn the_short_way_to_an_allowed_calls_line_leads_to_the_same_line() {
        use crate::entry::{Caller, Entry, Via};
        use crate::testing::{methods, peer, permit};
        let (peer, mut lines) = (peer("operator"), AllowedLines::default());
        let permit = permit(&peer);
        let via = Via {
            id: "conn-0011223344556677".parse().unwrap(),
            peer_addr: std::net::SocketAddr::from(([192, 0, 2, 1], 1)),
        };
        for (millis, via, trace, role) in [
            (1_767_225_599_007, Some(via), Some([0x0a; 16]), permit.role()),
            (1_767_225_599_999, None, None, permit.role()),
            (1_767_225_600_000, Some(via), None, None),
            (1_767_225_599_250, None, Some([0xff; 16]), None),
        ] {
            let allowed = Allowed {
                at: SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis),
                caller: Caller::Peer(peer.clone()),
                via,
                trace,
                method: permit.method(),
                role,
            };
            let whole = crate::render::record(&Entry::Allowed(allowed.clone()), &methods());
            assert_eq!(lines.write(&allowed, &methods()), record(&whole));
        }
    }

    #[test]
    fn a_strangers_text_stays_inside_its_string_and_its_line() {
        for text in ["\"},{\"kind\":\"decision\"", "a\nb\r\u{0}\u{1b}[31m", "\\", "\u{2028}", "ä\"ö"] {
            let line = connection(&Connection { peer_subject: text.into(), ..Connection::default() });
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
            assert_eq!(parse(&line).unwrap().unwrap().connection.unwrap().peer_subject, text);
        }
    }

    #[test]
    fn what_is_no_json_object_is_an_error_and_what_is_of_another_kind_is_skipped() {
        assert!(parse("").is_err() && parse("{").is_err());
        assert!(parse(r#"{"kind":"connection","id":7}"#).is_err());
        assert_eq!(parse(r#"{"kind":"other"}"#).unwrap(), None);
    }
}
