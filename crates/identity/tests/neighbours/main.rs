//! What went wrong in systems like this one: each entry of `docs/neighbours.md` that concerns connections, sources and
//! rotation, and is not shown elsewhere.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod clocks;
mod faults;
mod impostors;
mod recorded;
mod rotation;
