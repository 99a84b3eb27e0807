//! Verification of peers. Fails closed, and only ever adds to what webpki requires.

mod adapter;
mod candidate;
mod diagnose;
mod path;
mod pinned;
mod rejection;

pub(crate) use adapter::{ConnectionVerifier, Trust, handshake_reason};
pub(crate) use diagnose::{length, with_sources};
pub use path::ChainLimits;
pub(crate) use path::{Judge, Role};
pub use rejection::Rejection;
