//! Reads a service's log, one JSON object a line.
//!
//! Refused connections are found by the caller's address, refused calls by the decision's id; both are in what the
//! caller was told.

use std::path::Path;

use serde_json::Value;

/// All lines of a log that are JSON objects. What else is in it (a panic's message, say) is not a record.
#[must_use]
pub fn read(log: &Path) -> Vec<Value> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
}

/// A field of a record as text.
#[must_use]
pub fn field<'a>(record: &'a Value, name: &str) -> Option<&'a str> {
    record.get(name).and_then(Value::as_str)
}

/// The newest record with this value in this field and a reason.
#[must_use]
pub fn refusal<'a>(records: &'a [Value], name: &str, value: &str) -> Option<&'a Value> {
    records
        .iter()
        .rev()
        .find(|record| field(record, name) == Some(value) && field(record, "reason").is_some())
}

/// What was negotiated on a connection that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Who connected.
    pub peer: String,
    /// TLS version.
    pub tls: String,
    /// Key-exchange group.
    pub group: String,
}

/// The accepted connections of a log.
#[must_use]
pub fn accepted(records: &[Value]) -> Vec<Negotiated> {
    let accepted = records.iter().filter(|record| field(record, "message") == Some("connection accepted"));
    accepted
        .filter_map(|record| {
            Some(Negotiated {
                peer: field(record, "peer")?.to_owned(),
                tls: field(record, "tls_version")?.to_owned(),
                group: field(record, "group")?.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_among_other_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        let text = "not json\n{\"message\":\"connection refused\",\"peer_addr\":\"127.0.0.1:9\",\"reason\":\"CERT_UNTRUSTED\"}\n\
            {\"message\":\"connection accepted\",\"peer\":\"spiffe://a/b\",\"tls_version\":\"TLSv1_3\",\"group\":\"X25519\"}\n\
            {\"message\":\"connection accepted\"}\n[1]\n";
        std::fs::write(&log, text).unwrap();
        let records = read(&log);
        assert_eq!(records.len(), 3);
        let refused = refusal(&records, "peer_addr", "127.0.0.1:9").unwrap();
        assert_eq!(field(refused, "reason"), Some("CERT_UNTRUSTED"));
        assert_eq!(refusal(&records, "peer_addr", "127.0.0.1:8"), None);
        assert_eq!(accepted(&records).len(), 1);
    }

    #[test]
    fn a_log_that_is_not_there_has_no_records() {
        assert!(read(Path::new("no/such/log")).is_empty());
    }
}
