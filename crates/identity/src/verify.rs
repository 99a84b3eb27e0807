//! Verification of peers. Fails closed, and only ever adds to what webpki requires.

mod adapter;
mod candidate;
mod diagnose;
mod handshake;
mod path;
mod pinned;
mod rejection;

pub(crate) use adapter::{ConnectionVerifier, Trust};
pub(crate) use diagnose::{apart, length};
pub(crate) use handshake::handshake_reason;
pub use path::ChainLimits;
pub(crate) use path::{Judge, Role};
pub use rejection::Rejection;
