//! The issuer as workloads, attackers and its administrator meet it: real TLS, real socket, real files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and their helpers"
)]

mod abuse;
mod administration;
mod descriptors;
mod enrolment;
mod follower;
mod generations;
mod harness;
mod hostile;
mod killed;
mod recorded;
mod recovery;
mod renewal;
mod restart;
mod restored;
mod status;
mod trust;
mod workloads;
