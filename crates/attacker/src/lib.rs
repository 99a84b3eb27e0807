//! A hostile peer: forged certificates, raw TLS and HTTP/2, floods, and the reason that each attack must be refused with.
//!
//! It uses nothing of this workspace, so that a mistake in shared code cannot make an attack fail.
//! [`certificates::ATTACKS`] names each certificate that has to be refused, and the reason. It holds no secrets but
//! stolen ones, accepts any server, and has a timeout for everything it does.

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

/// An error of the attack itself, as opposed to a refusal by the other side.
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
