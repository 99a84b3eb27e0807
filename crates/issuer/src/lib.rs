//! The private CA of a trust domain: gives short-lived SPIFFE X.509-SVIDs to the workloads that are registered.
//!
//! A workload enrolls with a join token, renews over mutual TLS, recovers with the key of an expired SVID, and follows the
//! trust stream. The administrator registers identities over a local Unix socket. See [`Issuer`] for the whole,
//! [`config`] for what can be set.
//!
//! Refuses: to issue for anybody without an entry, for paths below `/avouch`, beyond the end of its own signing
//! authority, or before the record of the certificate is on disk; to start with keys that others can read, or beside
//! another process on the same data. Logs no secret.

mod acknowledgements;
mod admin;
pub mod admin_socket;
pub mod attest;
mod audit;
mod authorities;
pub mod config;
mod crl;
pub mod entries;
pub mod error;
mod grpc;
mod issuance;
mod limits;
mod maintenance;
mod metrics;
pub mod profiles;
mod random;
mod recovery;
mod self_issue;
mod server;
mod status;
pub mod store;
mod trust;

pub use acknowledgements::{Contact, WorkloadProcess};
pub use authorities::AuthoritiesError;
pub use avouch_limits::RateLimited;
pub use recovery::{ChainError, NonceError, RecoveryError};
pub use self_issue::SelfIssueError;
pub use server::{Issuer, StartError};
pub use status::Process;
pub use trust::{ProofKeyError, Trust};
