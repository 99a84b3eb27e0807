//! What goes wrong in the field, done on purpose to real processes: each time a person reads the one line they get, runs
//! the command it names, and stands before the true cause and the fix.
//!
//! The table of `docs/when-a-call-is-refused.md` says which line, which command and which answer, and is held to it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]
#![allow(clippy::print_stdout, reason = "what a person reads is shown where a test fails")]

mod caller;
mod person;
mod process;
mod table;
mod world;

mod certificates;
mod clocks;
mod foreign;
mod issuer;
mod policy;
