//! Peers that want to exhaust a server, before and after their handshake: each limit at the limit and one past it.
//!
//! The hostile peer comes from 127.0.0.2, the honest one from 127.0.0.1, unless a test says otherwise.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod endings;
mod handshakes;
mod requests;
mod shares;
mod throughput;
mod unauthenticated;
mod wire;
mod world;
