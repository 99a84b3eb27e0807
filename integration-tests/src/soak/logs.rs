//! What the services' logs say of the calls they made to each other: only failures that they could safely try again.

use std::collections::BTreeMap;

use serde_json::Value;

use avouch_demo::records::field;

/// Statuses after which a call with an idempotency key, a cursor or no effect may be made again.
const SAFE: [&str; 5] = ["Unavailable", "DeadlineExceeded", "ResourceExhausted", "Aborted", "Cancelled"];

/// Texts of refusals that are caused only by the time that a clock shows.
const CLOCK: [&str; 3] =
    ["CERT_EXPIRED", "CERT_NOT_YET_VALID", "a certificate of our chain is outside its dates"];

/// Why a connection or a certificate may be refused, or a connection ended, where nobody attacks: certificates end, and
/// processes are killed and started again.
const HARMLESS: [&str; 8] = [
    "CERT_EXPIRED",
    "CERT_NOT_YET_VALID",
    "CONNECTION_RETIRING",
    "HANDSHAKE_TIMEOUT",
    "NOT_READY",
    "PEER_CONNECTION_CLOSED",
    "STORE_UNAVAILABLE",
    // The client's own alert: it is the one that did not like the certificate.
    "HANDSHAKE_REFUSED",
];

/// Failed calls between services.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// Those that were safely made again, by status.
    pub(super) again: BTreeMap<String, u64>,
    /// All others, in words.
    pub(super) others: Vec<String>,
}

/// Adds the failed calls in the log of `name`. Where the clock jumps, a certificate may have ended.
pub(super) fn add(name: &str, records: &[Value], jumps: bool, failures: &mut Failures) {
    for record in records {
        let Some(code) = code(record) else { continue };
        let error = field(record, "error").or_else(|| field(record, "trouble")).unwrap_or_default();
        let of_the_clock =
            jumps && code == "Unauthenticated" && CLOCK.iter().any(|word| error.contains(word));
        if SAFE.contains(&code) || of_the_clock {
            *failures.again.entry(code.to_owned()).or_default() += 1;
        } else {
            let time = field(record, "timestamp").unwrap_or_default();
            failures.others.push(format!("{name} at {time}: {code}: {error}"));
        }
    }
}

/// The records of a log that report behaviour of an attacker, or a peer that was taken for one.
pub(super) fn alarms(records: &[Value]) -> impl Iterator<Item = String> {
    records.iter().filter_map(|record| {
        let (message, reason) = (field(record, "message")?, field(record, "reason")?);
        (!HARMLESS.contains(&reason)).then(|| {
            let (peer, detail) = (field(record, "peer").unwrap_or("somebody"), field(record, "detail"));
            format!("{message}, {peer}: {reason}: {}", detail.unwrap_or_default())
        })
    })
}

/// Lines that are no records and tell of a panic.
pub(super) fn panics(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("panicked at")).collect()
}

/// The status of a call that failed, in the records in which services tell of one.
fn code(record: &Value) -> Option<&str> {
    match field(record, "message")? {
        "the orders service does not take orders" | "not posted yet" | "the ledger's stream ended" => {
            field(record, "code")
        }
        // `STEP: MESSAGE (CODE)`
        "the order waits" => field(record, "trouble")?.rsplit_once('(')?.1.strip_suffix(')'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failures_that_may_be_tried_again_are_counted_by_status() {
        let records = [
            json!({"message": "not posted yet", "code": "Unavailable"}),
            json!({"message": "the order waits", "trouble": "charge: gone (as it were) (DeadlineExceeded)"}),
            json!({"message": "the orders service does not take orders", "code": "Unavailable"}),
            json!({"message": "something else", "code": "Internal"}),
        ];
        let mut failures = Failures::default();
        add("orders", &records, false, &mut failures);
        assert_eq!(failures.others, Vec::<String>::new());
        assert_eq!((failures.again["Unavailable"], failures.again["DeadlineExceeded"]), (2, 1));
    }

    #[test]
    fn every_other_failure_is_told_with_its_service_and_time() {
        for (message, key, value) in [
            ("not posted yet", "code", "Internal"),
            ("the ledger's stream ended", "code", "OutOfRange"),
            ("the order waits", "trouble", "reserve: not you (PermissionDenied)"),
        ] {
            let mut failures = Failures::default();
            let record = json!({"message": message, key: value, "timestamp": "noon"});
            add("payments", &[record], true, &mut failures);
            assert_eq!(failures.others.len(), 1, "{message}");
            assert!(failures.others[0].starts_with("payments at noon"), "{:?}", failures.others);
        }
    }

    #[test]
    fn a_certificate_that_has_ended_is_an_excuse_where_the_clock_jumps() {
        let record = [
            "charge: CERT_EXPIRED: the leaf has expired (Unauthenticated)",
            "charge: HANDSHAKE_REFUSED: to the server a certificate of our chain is outside its dates, … (Unauthenticated)",
        ];
        let record = record.map(|trouble| json!({"message": "the order waits", "trouble": trouble}));
        let (mut jumped, mut steady) = (Failures::default(), Failures::default());
        add("orders", &record, true, &mut jumped);
        add("orders", &record, false, &mut steady);
        assert_eq!((jumped.others.len(), jumped.again["Unauthenticated"]), (0, 2));
        assert_eq!(steady.others.len(), 2);
    }

    #[test]
    fn whoever_is_refused_as_an_attacker_is_an_alarm_and_an_expired_certificate_is_none() {
        let of = |message: &str, reason: &str| json!({"message": message, "reason": reason, "peer": "spiffe://a/b"});
        assert_eq!(alarms(&[of("connection refused", "CERT_EXPIRED"), json!({"message": "x"})]).count(), 0);
        let records = [
            of("connection refused", "CERT_UNTRUSTED"),
            of("connection closed", "RATE_LIMITED"),
            of("certificate refused", "RECOVERY_WINDOW_OVER"),
        ];
        let alarms: Vec<_> = alarms(&records).collect();
        assert_eq!(alarms.len(), 3);
        assert_eq!(alarms[0], "connection refused, spiffe://a/b: CERT_UNTRUSTED: ");
    }

    #[test]
    fn a_panic_is_found_among_records() {
        assert_eq!(panics("{}\nthread 'main' panicked at src/main.rs:1:1:\nboom\n").len(), 1);
        assert!(panics("{\"message\":\"fine\"}\n").is_empty());
    }
}
