//! Verification of peers (ADR 2). Fails closed, and only ever adds to what webpki requires.

mod chain_verifier;
mod diagnose;
mod extra_checks;
mod handshake;
mod pinned;
mod rejection;
mod revocation;
mod rustls_verifier;
mod webpki_input;

pub use chain_verifier::ChainLimits;
pub(crate) use chain_verifier::ChainVerifier;
pub(crate) use handshake::handshake_reason;
pub use rejection::Rejection;
pub(crate) use revocation::check_revoked;
pub(crate) use rustls_verifier::{ConnectionVerifier, Trust, tls13_signatures};
pub(crate) use webpki_input::Role;
