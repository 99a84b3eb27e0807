//! The commands that read, against everybody they ask: who answers, who does not and why, and what a dump keeps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and their helpers"
)]

mod asking;
mod diagnosing;
mod dumps;
mod following;
mod world;
