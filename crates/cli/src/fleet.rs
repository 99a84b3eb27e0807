//! What a trust domain says of itself at one moment: its issuer, and each workload, in their own words.
//!
//! Every command that reads works on a [`Fleet`], whether it was asked for just now or comes out of a dump.

use avouch_api::observe::v1::{Edge, GetPolicyResponse, Issuer, Record, Status, Workload};
use serde::{Deserialize, Serialize};

/// The answers of everybody who was asked.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Fleet {
    /// By the clock of the machine that asked; RFC 3339.
    pub(crate) taken_at: String,
    pub(crate) trust_domain: String,
    pub(crate) issuer: Option<Issuer>,
    /// Why there is no answer of the issuer.
    pub(crate) issuer_problem: String,
    pub(crate) issuer_records: Vec<Record>,
    pub(crate) members: Vec<Member>,
}

/// One workload: each address that a workload advertises is a member of its own.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Member {
    pub(crate) workload: Workload,
    /// The address that was asked.
    pub(crate) address: String,
    /// Why there is no answer, in one line; empty if there is one.
    pub(crate) problem: String,
    pub(crate) status: Option<Status>,
    pub(crate) policy: Option<GetPolicyResponse>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) records: Vec<Record>,
}
