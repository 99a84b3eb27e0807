//! Streams beside unary calls: which deadline they get, what a renewal does to them, and how they end with a certificate.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod deadlines;
mod renewal;
mod resumed;
mod revocation;
mod world;
