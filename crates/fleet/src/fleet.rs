//! The answers of all processes that were asked, as a value: what commands work on, and what a dump holds.

use avouch_api::observe::v1::{Edge, GetPolicyResponse, Issuer, Record, Status, Workload};
use avouch_text::shorten;
use serde::{Deserialize, Serialize};

/// The answers of the issuer and all workloads that were asked.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fleet {
    /// The time at which the issuer was asked, by the clock of the machine that asked; RFC 3339.
    pub taken_at: String,
    /// The trust domain's name.
    pub trust_domain: String,
    /// The issuer's answer.
    pub issuer: Option<Issuer>,
    /// Why there is no answer of the issuer.
    pub issuer_problem: String,
    /// The issuer's own records.
    pub issuer_records: Vec<Record>,
    /// The SPIFFE ID that the workloads were asked as; empty if nobody could be.
    pub operator: String,
    /// Why no workload could be asked: there is no identity to ask with.
    pub operator_problem: String,
    /// The identities that the issuer may give out, by SPIFFE ID.
    pub entries: Vec<RegisteredEntry>,
    /// The certificates that the issuer has on record, newest first, also expired ones.
    pub certificates: Vec<IssuedCertificate>,
    /// The workloads that were to be asked.
    pub members: Vec<Member>,
    /// The revocations on record, newest first, also those that have ended or were undone.
    pub revocations: Vec<RevocationRecord>,
    /// The forks that nobody has answered, newest first.
    pub forks: Vec<ForkRecord>,
}

/// A workload at one of its addresses: each one that it advertises is a member of its own.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// The workload as the issuer knows it.
    pub workload: Workload,
    /// The address that was asked.
    pub address: String,
    /// Whether a person has typed the address: it is dialled whatever it is.
    #[serde(skip)]
    pub typed: bool,
    /// Why there is no answer, in one line; empty if there is one.
    pub problem: String,
    /// The reason in it, as in CERT_EXPIRED, where there is one.
    pub reason: String,
    /// The state of the workload's process.
    pub status: Option<Status>,
    /// The workload's policy and the methods that it serves.
    pub policy: Option<GetPolicyResponse>,
    /// The callers of the workload, with what they called.
    pub edges: Vec<Edge>,
    /// The workload's records, oldest first.
    pub records: Vec<Record>,
}

impl Member {
    /// The member's name for people: its SPIFFE ID and the address that was asked, not what it says of itself.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.workload.spiffe_id.as_str(), self.address.as_str()) {
            ("", address) => shorten(address),
            (id, "") => shorten(id),
            (id, address) => format!("{} ({})", shorten(id), shorten(address)),
        }
    }
}

impl Fleet {
    /// The members that could have been asked and did not answer. One that advertises no address cannot be asked.
    pub fn silent(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.status.is_none() && !member.address.is_empty())
    }

    /// The members that advertise no address, so that nobody can ask them. A workload that also advertised one is not
    /// among them.
    pub fn unreachable(&self) -> impl Iterator<Item = &Member> {
        let elsewhere = |one: &Member| {
            let mut same =
                self.members.iter().filter(|other| other.workload.spiffe_id == one.workload.spiffe_id);
            same.any(|other| !other.address.is_empty())
        };
        self.members.iter().filter(move |one| one.address.is_empty() && !elsewhere(one))
    }
}

/// An identity that is registered at the issuer.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisteredEntry {
    /// The SPIFFE ID.
    pub spiffe_id: String,
    /// The lifetime of its certificates; absent: the issuer's default.
    pub svid_ttl_seconds: Option<u64>,
    /// The time after expiry in which it may recover; absent: the issuer's default.
    pub recovery_window_seconds: Option<u64>,
    /// The DNS names that its certificates carry.
    pub dns_names: Vec<String>,
    /// The time of its registration; RFC 3339.
    pub created_at: String,
    /// What happens when one of its certificates is renewed with two keys: "alert" (also if empty) or "revoke".
    pub on_fork: String,
    /// How often one registration may recover; absent: as often as it needs to.
    pub recovery_limit: Option<u32>,
}

/// A certificate that the issuer has on record. Times are RFC 3339.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IssuedCertificate {
    /// The serial number in hexadecimal.
    pub serial: String,
    /// The owner's SPIFFE ID.
    pub spiffe_id: String,
    /// The beginning of its validity.
    pub not_before: String,
    /// The end of its validity.
    pub not_after: String,
    /// The way it was issued: "enroll", "renew", "recover" or "self".
    pub origin: String,
    /// The time at which its owner was last seen with it; empty: never.
    pub last_seen: String,
    /// The serial number of the certificate that it was renewed or recovered from; empty: none.
    pub parent: String,
    /// The id of the revocation in force against it; 0: none.
    pub revocation_id: i64,
}

/// A revocation that the issuer has on record. Times are RFC 3339, empty where there is none.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RevocationRecord {
    /// The number by which it is undone.
    pub id: i64,
    /// `spiffe://…` or `serial:…`; empty: not known, after a restore.
    pub subject: String,
    /// The SPIFFE ID that the subject belongs to; empty: not known.
    pub spiffe_id: String,
    /// The operator's own words.
    pub reason: String,
    /// Whoever did it.
    pub actor: String,
    /// The time at which it was made.
    pub created_at: String,
    /// The end of its effect at the latest; empty: until it is undone.
    pub expires_at: String,
    /// The time at which it was undone.
    pub undone_at: String,
    /// Whoever undid it.
    pub undone_by: String,
    /// The epoch of the generation that brought it.
    pub epoch: u32,
    /// The counter of the generation that brought it.
    pub counter: u32,
    /// The serial numbers of the live certificates that it hit.
    pub serials: Vec<String>,
}

/// A certificate that was renewed or recovered with different keys.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForkRecord {
    /// The owner's SPIFFE ID.
    pub spiffe_id: String,
    /// The serial number of the certificate whose key is in two hands.
    pub serial: String,
    /// The time at which it was noticed; RFC 3339.
    pub noticed_at: String,
    /// The id of the revocation that answered it; 0: none.
    pub revocation_id: i64,
    /// The certificates issued from it.
    pub branches: Vec<ForkBranch>,
}

/// One of the certificates that were issued from a forked one.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForkBranch {
    /// The certificate.
    pub certificate: IssuedCertificate,
    /// The address that the request came from; empty: not known.
    pub peer_address: String,
}
