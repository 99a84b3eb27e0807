//! The attack list: everything that has to be refused, tried against the running market by a crate that shares no
//! code with it.
//!
//! Nothing here decides: each attack is made, and what the attacker saw is compared with the record of the refusing
//! side. An attack that succeeded, was refused for another reason, or left no record counts as a failure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use avouch_attacker::Error;
use avouch_attacker::grpc::{Attempt, Outcome};
use avouch_attacker::list::Made;

use crate::facts::{Attack, AttackKind};
use crate::{records, wait};

/// How long a record may take to be written.
const WRITTEN: Duration = Duration::from_secs(5);

/// Where an attack's record is found: field and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trail {
    field: &'static str,
    value: String,
}

/// An attack that was made, before the other side's record was looked up.
#[derive(Debug)]
pub(super) struct Tried {
    attack: Attack,
    trail: Option<Trail>,
    /// What the record has to name.
    names: &'static str,
}

/// What was expected of an attack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) kind: AttackKind,
    pub(super) name: &'a str,
    pub(super) target: &'a str,
    pub(super) reason: &'a str,
    pub(super) names: &'static str,
}

impl Expected<'_> {
    /// The attack, of which nothing is recorded yet.
    fn attack(&self, answer: String) -> Attack {
        Attack {
            kind: self.kind,
            name: self.name.to_owned(),
            target: self.target.to_owned(),
            expected: self.reason.to_owned(),
            answer,
            recorded: None,
            detail: String::new(),
        }
    }

    /// The attack and what the refusing side itself said, where it is this process.
    pub(super) fn judged(&self, reason: Option<String>, detail: String) -> Attack {
        let recorded = reason.filter(|_| detail.contains(self.names));
        Attack { recorded, detail, ..self.attack("not a byte of a request".to_owned()) }
    }
}

impl Tried {
    /// Notes what its maker saw.
    pub(super) fn new(expected: Expected<'_>, attempt: &Result<Attempt, Error>) -> Self {
        let (answer, trail) = match attempt {
            Ok(attempt) => seen(attempt),
            Err(error) => (format!("could not be made: {error}"), None),
        };
        Self { attack: expected.attack(answer), trail, names: expected.names }
    }

    /// Notes what came of one of the attacker's own list.
    pub(super) fn of(kind: AttackKind, target: &str, made: &Made) -> Self {
        let expected = Expected { kind, name: made.name, target, reason: made.reason, names: made.names };
        Self::new(expected, &made.attempt)
    }
}

/// What an attacker saw, in a word or two, and by what the other side's record is found.
fn seen(attempt: &Attempt) -> (String, Option<Trail>) {
    let by_address = Trail { field: "peer_addr", value: attempt.local.to_string() };
    match &attempt.outcome {
        Outcome::Answered(answer) if answer.status == 0 => ("let through".to_owned(), None),
        Outcome::Answered(answer) => {
            let code = super::code_name(tonic::Code::from_i32(answer.status));
            let trail = answer.decision_id().map(|value| Trail { field: "decision_id", value });
            (code, trail.or(Some(by_address)))
        }
        Outcome::Disconnected { alert: Some(alert), .. } => (format!("alert {alert}"), Some(by_address)),
        Outcome::Disconnected { alert: None, .. } => ("disconnected".to_owned(), Some(by_address)),
    }
}

/// Looks the records up in the logs of the targets, all of a log at once.
pub(super) async fn recorded(tried: Vec<Tried>, log: impl Fn(&str) -> PathBuf) -> Vec<Attack> {
    let mut by_target: BTreeMap<String, Vec<Tried>> = BTreeMap::new();
    for one in tried {
        by_target.entry(one.attack.target.clone()).or_default().push(one);
    }
    let mut attacks = Vec::new();
    for (target, mut tried) in by_target {
        let log = log(&target);
        let all_there = async || {
            let records = records::read(&log);
            for one in &mut tried {
                look_up(one, &records);
            }
            let missing = tried.iter().find(|one| one.trail.is_some() && one.attack.detail.is_empty());
            missing.map_or(Ok(()), |one| Err(one.attack.name.clone()))
        };
        // What is still missing then is told attack by attack.
        let _ = wait::until("the records of the attacks", WRITTEN, all_there).await;
        attacks.extend(tried.into_iter().map(|one| one.attack));
    }
    attacks
}

fn look_up(one: &mut Tried, records: &[serde_json::Value]) {
    let Some(trail) = &one.trail else { return };
    let Some(record) = records::refusal(records, trail.field, &trail.value) else { return };
    let text = |name| records::field(record, name).unwrap_or_default();
    let detail = [text("detail"), text("method"), text("error"), text("message")];
    one.attack.detail = detail.into_iter().find(|text| !text.is_empty()).unwrap_or("no detail").to_owned();
    if one.attack.detail.contains(one.names) {
        one.attack.recorded = Some(text("reason").to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EXPECTED: Expected<'static> = Expected {
        kind: AttackKind::Certificate,
        name: "expired",
        target: "payments",
        reason: "CERT_EXPIRED",
        names: "leaf certificate",
    };

    fn tried(alert: Option<&str>) -> Tried {
        let outcome = Outcome::Disconnected { alert: alert.map(str::to_owned), text: String::new() };
        Tried::new(EXPECTED, &Ok(Attempt { local: "127.0.0.1:9".parse().unwrap(), outcome }))
    }

    #[test]
    fn an_attack_is_held_off_only_by_a_record_with_its_reason_and_its_particulars() {
        let record = |reason: &str, detail: &str| {
            vec![json!({ "peer_addr": "127.0.0.1:9", "reason": reason, "detail": detail })]
        };
        for (records, held) in [
            (record("CERT_EXPIRED", "leaf certificate expired 9 s ago"), true),
            (record("CERT_EXPIRED", "trust anchor expired"), false),
            (record("CERT_UNTRUSTED", "leaf certificate"), false),
            (vec![], false),
        ] {
            let mut one = tried(Some("CertificateExpired"));
            look_up(&mut one, &records);
            assert_eq!(one.attack.held(), held, "{records:?}");
        }
    }

    #[test]
    fn an_attack_that_got_through_is_not_held_off_whatever_was_recorded() {
        let answer = avouch_attacker::grpc::Answer {
            status: 0,
            text: String::new(),
            details: vec![],
            message: vec![],
        };
        let attempt = Attempt { local: "127.0.0.1:9".parse().unwrap(), outcome: Outcome::Answered(answer) };
        let mut one = Tried::new(EXPECTED, &Ok(attempt));
        let record =
            json!({ "peer_addr": "127.0.0.1:9", "reason": "CERT_EXPIRED", "detail": "leaf certificate" });
        look_up(&mut one, &[record]);
        assert!(!one.attack.held());
        assert_eq!(one.attack.answer, "let through");
    }

    #[test]
    fn an_attack_that_could_not_be_made_is_not_held_off() {
        let one = Tried::new(EXPECTED, &Err("nobody listens".into()));
        assert!(!one.attack.held());
        assert!(one.attack.answer.contains("nobody listens"));
    }
}
