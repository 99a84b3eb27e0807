//! Identities from files: what comes into use, in which order, and what stays out and is said. The trust states of an
//! issuer.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod moments;
mod partners;
mod rotation;
mod start;
mod trust;
mod unusable;
