//! What a trust domain says of itself at one moment: its issuer, and each workload, in their own words.
//!
//! Every command that reads works on a [`Fleet`], whether it was asked for just now or comes out of a dump. The issuer
//! answers the local administrator over its socket; each workload is asked itself, over mutual TLS and as an operator:
//! the issuer has no power to read services. Whoever does not answer is in the fleet too, with the reason.

mod dump;
mod issuer;
mod live;
mod member;
mod members;
mod observed;
mod operator;
mod problem;
#[cfg(test)]
pub(crate) mod sample;

use crate::args::{Arguments, Sources};
use crate::error::CliError;
use avouch_api::observe::v1::{Edge, GetPolicyResponse, Issuer, Record, Status, Workload};
use avouch_text::shorten;
use serde::{Deserialize, Serialize};

pub(crate) use dump::pack;
pub(crate) use live::{Live, reach};
pub(crate) use observed::{ASKING, Observed, What, is_at, is_serial};

/// Why a workload did not answer whoever asked as `operator`, in one line.
pub(crate) fn explain(status: &tonic::Status, operator: &str) -> String {
    problem::of_workload(status, operator).text
}

/// The answers of everybody who was asked.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Fleet {
    /// By the clock of the machine that asked; RFC 3339.
    pub(crate) taken_at: String,
    pub(crate) trust_domain: String,
    pub(crate) issuer: Option<Issuer>,
    /// Why there is no answer of the issuer.
    pub(crate) issuer_problem: String,
    pub(crate) issuer_records: Vec<Record>,
    /// As who the workloads were asked; empty if nobody could be.
    pub(crate) operator: String,
    /// Why no workload could be asked: there is no identity to ask with.
    pub(crate) operator_problem: String,
    /// What the issuer may issue, by SPIFFE ID.
    pub(crate) entries: Vec<Entry>,
    /// What it has issued and on record, newest first, also what has expired.
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) members: Vec<Member>,
}

/// One workload: each address that a workload advertises is a member of its own.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Member {
    pub(crate) workload: Workload,
    /// The address that was asked.
    pub(crate) address: String,
    /// Why there is no answer, in one line; empty if there is one.
    pub(crate) problem: String,
    /// The reason in it, as in CERT_EXPIRED, where there is one.
    pub(crate) reason: String,
    pub(crate) status: Option<Status>,
    pub(crate) policy: Option<GetPolicyResponse>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) records: Vec<Record>,
}

impl Member {
    /// What people call it: the SPIFFE ID and the address it was asked by. What it says of itself is not taken for it.
    pub(crate) fn name(&self) -> String {
        match (self.workload.spiffe_id.as_str(), self.address.as_str()) {
            ("", address) => shorten(address),
            (id, "") => shorten(id),
            (id, address) => format!("{} ({})", shorten(id), shorten(address)),
        }
    }
}

impl Fleet {
    /// Who could have been asked and did not answer. Who tells no address cannot be asked.
    pub(crate) fn silent(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.status.is_none() && !member.address.is_empty())
    }

    /// Who tells no address: nobody can ask it. A workload that also told one is not among them.
    pub(crate) fn unreachable(&self) -> impl Iterator<Item = &Member> {
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
pub(crate) struct Entry {
    pub(crate) spiffe_id: String,
    /// Absent: the issuer's default.
    pub(crate) svid_ttl_seconds: Option<u64>,
    /// Absent: the issuer's default.
    pub(crate) recovery_window_seconds: Option<u64>,
    pub(crate) dns_names: Vec<String>,
    /// RFC 3339.
    pub(crate) created_at: String,
}

/// A certificate that the issuer has on record. Times are RFC 3339.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Certificate {
    pub(crate) serial: String,
    pub(crate) spiffe_id: String,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
    /// "enroll", "renew", "recover" or "self".
    pub(crate) origin: String,
    /// Empty: never.
    pub(crate) last_seen: String,
}

/// Reads the dump that `sources` names, or asks the issuer and each workload.
///
/// Whoever does not answer, the issuer included, is no error but a `problem` in the fleet.
///
/// # Errors
/// When the dump cannot be read, or an identity was named with which nobody can be asked.
pub(crate) async fn gather(arguments: &Arguments, sources: &Sources) -> Result<Fleet, CliError> {
    match &sources.from {
        Some(path) => dump::read(path),
        None => Ok(reach(arguments, sources).await?.ask().await),
    }
}
