//! The groups: each answers one question with a few tables.

mod calls;
mod connections;
mod counts;
mod decisions;
mod fan_out;
mod growth;
mod issuance;
mod memory;
mod proxies;
mod revocation;
mod servers;
mod start;

use crate::bench::Bench;
use crate::error::Error;
use crate::table::Table;

/// A group.
#[derive(Debug)]
pub struct Group {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// Measures it.
    pub measure: fn(&Bench) -> Result<Vec<Table>, Error>,
}

const fn group(
    name: &'static str,
    about: &'static str,
    measure: fn(&Bench) -> Result<Vec<Table>, Error>,
) -> Group {
    Group { name, about, measure }
}

/// All groups, in the order of a whole run.
pub const GROUPS: &[Group] = &[
    group("calls", "what a call costs, and how many there can be", calls::measure),
    group(
        "connections",
        "what a handshake and a new connection cost, and a storm of them",
        connections::measure,
    ),
    group("decisions", "the cost of a decision, over the size of the policy", decisions::measure),
    group("memory", "what processes hold while nothing happens", memory::measure),
    group(
        "issuance",
        "what a certificate costs, and what renewals do to the calls of services",
        issuance::measure,
    ),
    group("counts", "instructions and allocations, which are the same on a busy machine", counts::measure),
    group("start", "from the start of a process to its first authorized call", start::measure),
    group("fan-out", "a change of trust, from the issuer to all its subscribers", fan_out::measure),
    group(
        "revocation",
        "from a revocation to the last closed connection, and what many of them cost",
        revocation::measure,
    ),
    group("growth", "exponents, over the size of what there is more and more of", growth::measure),
];
