//! The state of a trust domain at one moment, as its issuer and each workload report it.
//!
//! Everything that reads works on a [`Fleet`], whether it was asked for just now ([`reach`], then [`Live::ask`]) or comes
//! out of a dump ([`read_dump`]). The issuer answers the local administrator over its socket; each workload is asked
//! itself, over mutual TLS and as an operator: the issuer has no power to read services. Whoever does not answer is in
//! the fleet too, with the reason.
//!
//! Knows no terminal and no command line. Errors carry their help as text, in the words of the `avouch` command.

mod admin;
mod ask;
mod dialler;
mod dialling;
mod dump;
mod error;
mod fleet;
mod issuer;
mod lists;
mod live;
mod members;
mod observed;
mod operator;
mod problem;
mod runtime_dir;
#[cfg(test)]
mod sample;

// The sample is shared with the tests of the command line, which name this crate from outside.
#[cfg(test)]
extern crate self as avouch_fleet;

pub use admin::{AdminClient, AdminSocket};
pub use ask::{AskAs, AskOptions, WorkloadTarget, WorkloadTargetError};
pub use dialler::Dialler;
pub use dump::{pack as pack_dump, read as read_dump};
pub use error::FleetError;
pub use fleet::{
    Fleet, ForkBranch, ForkRecord, IssuedCertificate, Member, RegisteredEntry, RevocationRecord,
};
pub use issuer::revocation as read_revocation;
pub use lists::{list_audit, list_certificates, list_entries, list_revocations, list_workloads};
pub use live::{Live, reach};
pub use observed::{ASKING, Observed, Recorded, is_at, is_serial};
pub use problem::explain;
