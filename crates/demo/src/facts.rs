//! The facts of one run: everything the printed lines, the report page and `--json` are drawn from.
//!
//! Plain data, measured elsewhere; nothing here decides or renders. Whether the run held is derived from the
//! checks alone ([`Facts::held`]), so a fact that matters has to be a check. No secret has a place in it.

mod theft;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use theft::Theft;

/// Everything that is known about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Version of the demo.
    pub version: String,
    /// When the run began, RFC 3339, UTC.
    pub started_at: String,
    /// How long it took, without the build.
    pub lasted_ms: u64,
    /// The trust domain of all identities.
    pub trust_domain: String,
    /// How long each certificate lives.
    pub svid_seconds: u64,
    /// What has to hold, in the order in which it was found out.
    pub checks: Vec<Check>,
    /// All parties: issuer, services, people, attackers.
    pub parties: Vec<Party>,
    /// The calls between the parties.
    pub edges: Vec<Edge>,
    /// Every certificate that was issued, oldest first.
    pub certificates: Vec<Certificate>,
    /// Processes that were killed.
    pub kills: Vec<Kill>,
    /// Calls that had to be refused, and how they were.
    pub refusals: Vec<Refusal>,
    /// One of them, as its caller saw it, and what `avouch` said when it was asked why.
    pub explained: Option<Explained>,
    /// The attack list, and how each attack was held off.
    pub attacks: Vec<Attack>,
    /// The key that was stolen, and how the thief was cut off; none where that did not come to its end.
    pub theft: Option<Theft>,
    /// The RPCs that each role may call.
    pub matrix: Matrix,
    /// One order's trace.
    pub trace: Option<Trace>,
    /// Counts and sums.
    pub totals: Totals,
    /// Lines of the stream that did not lead to an order in a final state; at most a hundred.
    pub problems: Vec<Problem>,
    /// Commands to try next.
    pub next: Vec<String>,
}

impl Facts {
    /// Whether nothing failed. A skipped check does not fail a run.
    #[must_use]
    pub fn held(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }

    /// The party of this name.
    #[must_use]
    pub fn party(&self, name: &str) -> Option<&Party> {
        self.parties.iter().find(|party| party.name == name)
    }

    /// How many certificates of one identity came to be in one way: `enroll`, `renew`, `recover`, `self`.
    #[must_use]
    pub fn issued(&self, spiffe_id: &str, origin: &str) -> usize {
        self.certificates.iter().filter(|c| c.spiffe_id == spiffe_id && c.origin == origin).count()
    }
}

/// Something that has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What holds, as a sentence.
    pub claim: String,
    /// Whether it did.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was so.
    Held,
    /// It was not so.
    Failed,
    /// It could not be checked on this machine.
    Skipped,
}

/// Somebody who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Short name, unique.
    pub name: String,
    /// Service, person or attacker.
    pub kind: PartyKind,
    /// The identity it has, or claims to have; none for a caller without a certificate.
    pub spiffe_id: Option<String>,
    /// The roles the policy gives this identity.
    pub roles: Vec<String>,
}

/// What a party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartyKind {
    /// The private CA.
    Issuer,
    /// A service of the market.
    Service,
    /// A legitimate caller from outside.
    Client,
    /// A caller that has to be refused.
    Hostile,
}

/// All calls of one party to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Name of the calling party.
    pub caller: String,
    /// Name of the called party.
    pub callee: String,
    /// Methods, without package.
    pub rpcs: Vec<String>,
    /// Calls that were seen.
    pub calls: u64,
    /// Negotiated version, `TLSv1.3`; none when no handshake got that far.
    pub tls: Option<String>,
    /// Negotiated key-exchange group.
    pub group: Option<String>,
    /// The reason, when these calls were refused.
    pub refused: Option<String>,
}

/// One issued certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The SPIFFE ID it was issued for.
    pub spiffe_id: String,
    /// The serial number in lower-case hex.
    pub serial: String,
    /// `enroll`, `renew`, `recover` or `self`.
    pub origin: String,
    /// When it was issued, milliseconds after the run began; negative if before.
    pub issued_ms: i64,
    /// When it expires, milliseconds after the run began.
    pub expires_ms: i64,
}

/// A process that was killed with SIGKILL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// The name of the process.
    pub party: String,
    /// When it was killed, milliseconds after the run began.
    pub killed_ms: u64,
    /// When it was started again.
    pub restarted_ms: u64,
    /// When it was ready again.
    pub ready_ms: u64,
    /// Calls that failed in this window.
    pub failed_calls: u64,
}

/// A call that had to be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Name of the calling party.
    pub caller: String,
    /// Name of the called party.
    pub callee: String,
    /// What was tried.
    pub attempt: String,
    /// The reason that has to be given.
    pub expected: String,
    /// The gRPC code or TLS alert the caller got.
    pub answer: String,
    /// The reason as the caller saw it.
    pub caller_reason: Option<String>,
    /// The reason in the server's own record.
    pub server_reason: Option<String>,
    /// The caller's message or the record's explanation.
    pub detail: String,
    /// By which the server's decision or connection record is found.
    pub record: Option<String>,
}

/// A refusal and its explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The caller's line.
    pub told: String,
    /// The command that explains it.
    pub command: String,
    /// What the command printed.
    pub answer: String,
}

/// An attack of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attack {
    /// What is attacked.
    pub kind: AttackKind,
    /// Its name.
    pub name: String,
    /// Name of the party it was aimed at.
    pub target: String,
    /// The reason it has to be refused for.
    pub expected: String,
    /// What the attacker saw.
    pub answer: String,
    /// The reason in the record of the side that refused; none if there is no such record, or it lacks what it has to
    /// name.
    pub recorded: Option<String>,
    /// What the record says in particular.
    pub detail: String,
}

impl Attack {
    /// Whether it was refused, for the reason it had to be refused for.
    #[must_use]
    pub fn held(&self) -> bool {
        self.recorded.as_ref() == Some(&self.expected)
    }
}

/// What an attack is aimed at, in the order of the layers it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttackKind {
    /// The handshake as such.
    Handshake,
    /// A service, by a client with a forged certificate.
    Certificate,
    /// A client, by a server with a forged certificate.
    Server,
    /// A service, by a caller with a real identity.
    Call,
    /// The issuer.
    Issuance,
}

/// The RPCs that each role may call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// Role to the identities (or prefixes) that hold it.
    pub roles: BTreeMap<String, Vec<String>>,
    /// All RPCs of the contract.
    pub rpcs: Vec<Rpc>,
}

/// One RPC and its rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rpc {
    /// `/package.Service/Method`.
    pub path: String,
    /// The roles of which one is needed; empty when the rule is another.
    pub roles: Vec<String>,
    /// `roles`, `any_identity`, `unauthenticated` or `local_admin`.
    pub rule: String,
}

/// One order's way through every process it passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Hex.
    pub trace_id: String,
    /// The processes that contributed.
    pub services: Vec<String>,
    /// In depth-first order, the root first.
    pub spans: Vec<Span>,
    /// From the first start to the last end.
    pub lasted_us: u64,
}

/// One span of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The service that made it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `server`, `client` or `internal`.
    pub kind: String,
    /// The number of spans between it and the root.
    pub depth: usize,
    /// Start, microseconds after the trace's.
    pub start_us: u64,
    /// Duration.
    pub lasted_us: u64,
    /// SPIFFE ID of the caller, on a server's span.
    pub caller: Option<String>,
    /// `allow` or `deny`, on a server's span.
    pub decision: Option<String>,
    /// gRPC status, where there is one.
    pub status: Option<String>,
}

/// A line of the stream that did not lead to an order in a final state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The number of the line, from 1.
    pub line: u64,
    /// `malformed`, `invalid`, `conflict` and others.
    pub kind: String,
    /// Why.
    pub reason: String,
}

/// Counts and sums of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Order lines that were read.
    pub lines: u64,
    /// Lines that were refused as malformed.
    pub malformed: u64,
    /// Orders that were acknowledged.
    pub orders: u64,
    /// Of these: completed.
    pub completed: u64,
    /// Of these: rejected, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Calls between services that were seen.
    pub calls: u64,
    /// Calls that failed outside every kill window.
    pub failed_calls: u64,
    /// Calls that failed inside one.
    pub failed_in_kill_windows: u64,
    /// Renewals of all services.
    pub renewals: u64,
    /// Recoveries of expired identities.
    pub recoveries: u64,
    /// Sales by currency, smallest unit.
    pub sales: BTreeMap<String, i64>,
    /// Postings in the ledger.
    pub postings: u64,
    /// Pieces that left the stock.
    pub pieces: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: Outcome) -> Check {
        Check { claim: "it holds".into(), outcome, detail: String::new() }
    }

    #[test]
    fn one_failed_check_fails_the_run() {
        let mut facts = crate::sample::facts();
        facts.checks = vec![check(Outcome::Held), check(Outcome::Failed)];
        assert!(!facts.held());
    }

    #[test]
    fn a_run_without_checks_has_not_held() {
        let mut facts = crate::sample::facts();
        facts.checks.clear();
        assert!(!facts.held());
    }

    #[test]
    fn a_skipped_check_does_not_fail_the_run() {
        let mut facts = crate::sample::facts();
        facts.checks = vec![check(Outcome::Held), check(Outcome::Skipped)];
        assert!(facts.held());
    }

    #[test]
    fn the_facts_survive_json_unchanged() {
        let facts = crate::sample::facts();
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
    }
}
