//! A hostile peer: what it shows in a handshake, what it says on the wire, and what it should be refused with.
//!
//! Uses nothing of this workspace, so that a refusal it meets is the refusing side's own and no slip of shared code.
//! [`certificates::ATTACKS`] names each certificate that has to be refused, and the reason. It keeps no secret it did
//! not steal, believes any server, and bounds everything it does in time.

pub mod certificates;
pub mod der;
pub mod floods;
pub mod forge;
pub mod grpc;
pub mod hello;
pub mod impostor;
pub mod issuer;
pub mod leaks;
pub mod list;
pub mod tls;

/// What went wrong with an attack itself, as opposed to what came of it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Seconds since 1970, by the system.
#[must_use]
pub fn now() -> i64 {
    now_us() / 1_000_000
}

/// Microseconds since 1970, by the system.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "an attacker has no clock but the system's")]
pub fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
