//! Decides here as the asked process decides there: by the policy texts and the contract that it showed.

use crate::contract;
use avouch_api::observe::v1::{Connection, Decision, GetPolicyResponse, Policy as Said};
use avouch_authz::{Caller, Certificate, Denial, Policy, Subject, decide, matrix};
use avouch_fleet::Fleet;
use avouch_spiffe::SpiffeId;
use avouch_time::parse_rfc3339;
use std::collections::BTreeSet;
use std::time::SystemTime;

/// A caller of a record, or one that a policy names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asker {
    Peer(SpiffeId, RecordedCertificate),
    LocalAdmin,
    Anonymous,
}

/// A caller's certificate as far as records describe it, for the conditions of a policy. They have no key and no fingerprint, so a
/// condition on those is never met here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordedCertificate {
    not_before: Option<SystemTime>,
    now: Option<SystemTime>,
    authority: Option<String>,
    serial: Option<String>,
}

/// A policy that was, is or may be in force.
pub(super) struct Rules<'a> {
    pub(super) said: &'a Said,
    pub(super) policy: Policy,
}

/// The policies of one process.
pub(super) struct Policies<'a> {
    pub(super) current: Rules<'a>,
    pub(super) previous: Option<Rules<'a>>,
}

/// The calls that are newly allowed, with their callers.
pub(super) type Gains = Vec<(Asker, &'static str)>;

impl Asker {
    /// The caller of a decision's record, with what the record of its connection says of the certificate.
    pub(super) fn of_record(decision: &Decision, connection: Option<&Connection>) -> Option<Self> {
        match decision.peer.as_str() {
            "local-admin" => Some(Self::LocalAdmin),
            "anonymous" => Some(Self::Anonymous),
            id => Some(Self::Peer(id.parse().ok()?, RecordedCertificate::of(decision, connection))),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Peer(id, _) => id.as_str(),
            Self::LocalAdmin => "local-admin",
            Self::Anonymous => "anonymous",
        }
    }

    pub(super) fn caller(&self) -> Caller<'_> {
        match self {
            Self::Peer(id, recorded) => Caller::Certified(id, recorded.certificate()),
            Self::LocalAdmin => Caller::LocalAdmin,
            Self::Anonymous => Caller::Anonymous,
        }
    }
}

impl RecordedCertificate {
    fn of(decision: &Decision, connection: Option<&Connection>) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let serial = connection.map(|connection| connection.peer_serial.trim_start_matches("00"));
        Self {
            not_before: connection.and_then(|connection| parse_rfc3339(&connection.peer_not_before)),
            now: parse_rfc3339(&decision.time),
            authority: connection.and_then(|connection| text(&connection.peer_authority)),
            serial: serial.and_then(text),
        }
    }

    fn certificate(&self) -> Certificate<'_> {
        Certificate {
            not_before: self.not_before,
            now: self.now,
            issuer_key_id: self.authority.as_deref(),
            serial: self.serial.as_deref(),
            ..Certificate::default()
        }
    }
}

impl<'a> Policies<'a> {
    /// Reads what a process showed; none if it showed nothing.
    pub(super) fn read(answer: &'a GetPolicyResponse) -> Option<Result<Self, String>> {
        let current = answer.current.as_ref()?;
        let methods = match contract::methods(&answer.methods) {
            Ok(methods) => methods,
            Err(error) => return Some(Err(error.to_string())),
        };
        let parse = |said: &'a Said| {
            let policy =
                Policy::load_told(&said.source, &said.text, &methods).map_err(|error| error.to_string())?;
            Ok(Rules { said, policy })
        };
        // A previous policy that cannot be read any more only cannot be compared with.
        let previous = answer.previous.as_ref().and_then(|said| parse(said).ok());
        Some(parse(current).map(|current| Self { current, previous }))
    }
}

impl Rules<'_> {
    /// The role it is allowed by, if it takes one.
    pub(super) fn decide(&self, asker: &Asker, path: &str) -> Result<Option<&'static str>, Denial> {
        judge(&self.policy, asker, path)
    }

    /// The callers that hold `role`, as written.
    pub(super) fn holders(&self, role: &str) -> Vec<String> {
        let rows = matrix(&self.policy).rows;
        let row = rows.into_iter().find(|row| matches!(row.subject, Subject::Role(name) if name == role));
        row.map(|row| row.callers).unwrap_or_default()
    }

    /// The policy that this one is with another text.
    pub(super) fn changed(&self, text: &str) -> Result<Policy, String> {
        Policy::load(&self.said.source, text, self.policy.methods()).map_err(|error| error.to_string())
    }
}

/// The decision. What audit mode alone lets through counts as refused.
pub(super) fn judge(policy: &Policy, asker: &Asker, path: &str) -> Result<Option<&'static str>, Denial> {
    let permit = decide(policy, asker.caller(), path)?;
    match permit.audited() {
        Some(denial) => Err(denial.clone()),
        None => Ok(permit.role()),
    }
}

/// The callers whom a change could concern: whom the policy names, one unnamed below each of its prefixes, everybody who
/// is registered or running, and those without a name. Of the others' certificates nothing is known.
pub(super) fn everybody(fleet: &Fleet, policy: &Policy, asker: &Asker) -> BTreeSet<Asker> {
    let table = matrix(policy);
    let bound = table.rows.into_iter().flat_map(|row| row.callers);
    let written = bound.chain(table.denies.into_iter().map(|deny| deny.caller));
    let named = written.filter_map(|caller| {
        let caller = caller.split_whitespace().next()?; // without its conditions
        Some(match caller.strip_suffix("/*") {
            Some(parent) => format!("{parent}/somebody-below"),
            None => caller.to_owned(),
        })
    });
    let entries = fleet.entries.iter().map(|entry| entry.spiffe_id.clone());
    let members = fleet.members.iter().map(|member| member.workload.spiffe_id.clone());
    let ids = named.chain(entries).chain(members).filter(|id| id != asker.name());
    let peers = ids.filter_map(|id| Some(Asker::Peer(id.parse().ok()?, RecordedCertificate::default())));
    peers.chain([asker.clone(), Asker::LocalAdmin, Asker::Anonymous]).collect()
}

/// The calls that each of `askers` may make under `after` and may not under `before`.
pub(super) fn gains(before: &Policy, after: &Policy, askers: &BTreeSet<Asker>) -> Gains {
    let paths = after.methods().iter().map(|method| method.path);
    let cells = paths.flat_map(|path| askers.iter().map(move |asker| (asker, path)));
    let may = |policy: &Policy, asker: &Asker, path: &str| judge(policy, asker, path).is_ok();
    let gained = cells.filter(|(asker, path)| may(after, asker, path) && !may(before, asker, path));
    gained.map(|(asker, path)| (asker.clone(), path)).collect()
}
