//! What the services' logs say of the calls they made to each other: only failures that they could safely try again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::records::field;

/// Statuses after which a call with an idempotency key, a cursor or no effect may be made again.
const SAFE: [&str; 5] = ["Unavailable", "DeadlineExceeded", "ResourceExhausted", "Aborted", "Cancelled"];

/// Failed calls between services.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// Those that were safely made again, by status.
    pub(super) again: BTreeMap<String, u64>,
    /// All others, in words.
    pub(super) others: Vec<String>,
}

/// Adds the failed calls in the log of `name`.
pub(super) fn add(name: &str, records: &[Value], failures: &mut Failures) {
    for record in records {
        let Some(code) = code(record) else { continue };
        if SAFE.contains(&code) {
            *failures.again.entry(code.to_owned()).or_default() += 1;
        } else {
            let time = field(record, "timestamp").unwrap_or_default();
            let error = field(record, "error").or_else(|| field(record, "trouble")).unwrap_or_default();
            failures.others.push(format!("{name} at {time}: {code}: {error}"));
        }
    }
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
        add("orders", &records, &mut failures);
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
            add("payments", &[record], &mut failures);
            assert_eq!(failures.others.len(), 1, "{message}");
            assert!(failures.others[0].starts_with("payments at noon"), "{:?}", failures.others);
        }
    }

    #[test]
    fn a_panic_is_found_among_records() {
        assert_eq!(panics("{}\nthread 'main' panicked at src/main.rs:1:1:\nboom\n").len(), 1);
        assert!(panics("{\"message\":\"fine\"}\n").is_empty());
    }
}
