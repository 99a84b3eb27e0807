//! Path validation, case by case, in the order of NIST's PKITS (Public Key Interoperability Test Suite): each chain is
//! made here, shown to a server by a client and to a client by a server, and put before `openssl verify -x509_strict`.
//!
//! Where openssl says something else, the case says why. PKITS's own data is not used: its names and its algorithms
//! are not those of X.509-SVIDs.
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod building;
mod constraints;
mod extensions;
mod key_usage;
mod moments;
mod names;
mod signatures;
mod validity;
mod world;
