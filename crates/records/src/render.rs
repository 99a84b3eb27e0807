//! Converts records in memory to the messages of `avouch.observe.v1`.

use std::time::SystemTime;

use avouch_api::observe::v1::{Connection, Decision, Method, Record};
use avouch_authz::Methods;
use avouch_authz::contract::{MethodRule, Rule};
use avouch_identity::Verdict;
use avouch_spiffe::Reason;
use avouch_text::hex;
use avouch_time::timestamp;

use crate::entry::{Allowed, Attempt, Entry, Refused, Why};

/// One record as a message.
pub(crate) fn record(entry: &Entry, methods: &Methods) -> Record {
    match entry {
        Entry::Attempt(attempt) => Record { connection: Some(connection(attempt)), decision: None },
        Entry::Refused(refused) => Record { connection: None, decision: Some(decision(refused)) },
        Entry::Allowed(allowed) => {
            Record { connection: None, decision: Some(allowed_decision(allowed, methods)) }
        }
    }
}

pub(crate) fn connection(attempt: &Attempt) -> Connection {
    let Attempt { record, suppressed, closed } = attempt;
    let presented = record.presented.as_ref();
    let claimed = presented.and_then(|presented| presented.spiffe_id.as_ref());
    let id = record.peer_id.as_ref().or(claimed);
    let cause = closed.as_ref().and_then(|closed| closed.cause.as_ref());
    let moment = |at: Option<SystemTime>| at.map(timestamp::rfc3339_millis).unwrap_or_default();
    Connection {
        id: record.id.to_string(),
        time: timestamp::rfc3339_millis(record.at),
        peer_address: record.peer_addr.to_string(),
        local_address: record.local_addr.map(|address| address.to_string()).unwrap_or_default(),
        peer_id: id.map(ToString::to_string).unwrap_or_default(),
        peer_serial: presented
            .map(|presented| presented.serial.clone())
            .or_else(|| record.peer_serial.clone())
            .unwrap_or_default(),
        peer_subject: presented.map(|presented| presented.subject.clone()).unwrap_or_default(),
        peer_not_before: moment(presented.map(|presented| presented.not_before)),
        peer_not_after: moment(presented.map(|presented| presented.not_after)),
        peer_authority: presented
            .and_then(|presented| presented.authority_key_id.clone())
            .unwrap_or_default(),
        verdict: match record.verdict {
            Verdict::Accepted => "accepted",
            Verdict::Refused => "refused",
        }
        .to_owned(),
        reason: record.reason.map(word).unwrap_or_default(),
        detail: record.detail.clone().unwrap_or_default(),
        tls_version: record.tls_version.unwrap_or_default().to_owned(),
        cipher: record.cipher.clone().unwrap_or_default(),
        group: record.group.clone().unwrap_or_default(),
        handshake_micros: u64::try_from(record.handshake.as_micros()).unwrap_or(u64::MAX),
        bundle_sequence: record.bundle_sequence,
        ended_at: moment(closed.as_ref().map(|closed| closed.at)),
        end_reason: cause.map(|(reason, _)| word(*reason)).unwrap_or_default(),
        end_detail: cause.map(|(_, detail)| detail.clone()).unwrap_or_default(),
        suppressed: *suppressed,
    }
}

fn word(reason: Reason) -> String {
    reason.as_str().to_owned()
}

fn decision(refused: &Refused) -> Decision {
    let mut decision = Decision {
        id: refused.id.map(|id| id.to_string()).unwrap_or_default(),
        time: timestamp::rfc3339_millis(refused.at),
        connection_id: refused.via.map(|via| via.id.to_string()).unwrap_or_default(),
        trace_id: refused.trace.map(|id| hex::encode(&id)).unwrap_or_default(),
        peer: refused.caller.name().to_owned(),
        verdict: if refused.audited { "audited" } else { "refused" }.to_owned(),
        suppressed: refused.suppressed,
        ..Decision::default()
    };
    let owned = |names: &[&'static str]| names.iter().map(|name| (*name).to_owned()).collect();
    match &refused.why {
        Why::Denial(denial) => {
            decision.method = denial.path().to_owned();
            decision.reason = word(denial.reason());
            decision.need = owned(denial.need());
            decision.have = owned(denial.have());
            decision.rule = denial.rule_text();
            decision.place = denial.location().map(ToString::to_string).unwrap_or_default();
            decision.detail = denial.detail();
            decision.policy_version = denial.policy_version().unwrap_or_default().to_owned();
        }
        Why::Service { method, reason, detail } => {
            decision.method.clone_from(method);
            decision.reason = word(*reason);
            decision.detail.clone_from(detail);
        }
    }
    decision
}

fn allowed_decision(allowed: &Allowed, methods: &Methods) -> Decision {
    let rule = methods.rule(allowed.method);
    let need = match rule.map(|rule| rule.rule) {
        Some(Rule::Roles(roles)) => roles,
        _ => &[],
    };
    Decision {
        time: timestamp::rfc3339_millis(allowed.at),
        connection_id: allowed.via.map(|via| via.id.to_string()).unwrap_or_default(),
        trace_id: allowed.trace.map(|id| hex::encode(&id)).unwrap_or_default(),
        peer: allowed.caller.name().to_owned(),
        method: rule.map(|rule| rule.path.to_owned()).unwrap_or_default(),
        verdict: "allowed".to_owned(),
        need: need.iter().map(|role| (*role).to_owned()).collect(),
        have: allowed.role.map(str::to_owned).into_iter().collect(),
        ..Decision::default()
    }
}

/// A method and who may call it, as a message.
#[must_use]
pub fn method(rule: &MethodRule) -> Method {
    let mut method = Method { path: rule.path.to_owned(), ..Method::default() };
    match rule.rule {
        Rule::Roles(roles) => method.roles = roles.iter().map(|role| (*role).to_owned()).collect(),
        Rule::AnyIdentity => method.any_identity = true,
        Rule::Unauthenticated => method.unauthenticated = true,
        Rule::LocalAdmin => method.local_admin = true,
    }
    method
}
