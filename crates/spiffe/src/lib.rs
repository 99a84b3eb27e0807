//! The vocabulary every avouch crate shares: SPIFFE IDs and trust domains, X.509-SVID checks, trust bundles,
//! peer identities, join tokens, the rules of a contract, and the one list of reasons for a refusal.
//!
//! Pure and synchronous: no I/O, no async runtime, no TLS, no gRPC. Everything is parsed into a type whose
//! existence is the proof of its checks; there is no way to build one from unchecked parts. What cannot be parsed
//! is refused with an error that names the clause of the standard.
//!
//! Deliberate strictness beyond the SPIFFE standards is listed in `docs/spiffe-divergences.md`.

pub mod bounds;
mod bundle;
pub mod contract;
pub mod host_port;
mod id;
mod peer;
mod reason;
mod token;
mod trust_domain;
pub mod trust_state;
pub mod x509;

pub use bounds::{Bounds, OutOfBounds};
pub use bundle::{Bundle, BundleError, BundleSet};
pub use host_port::{HostPort, HostPortError};
pub use id::{MAX_SPIFFE_ID_BYTES, SpiffeId, SpiffeIdError};
pub use peer::PeerIdentity;
pub use reason::{Code, ERROR_DOMAIN, Reason, UnknownReason};
pub use token::{JoinToken, JoinTokenError};
pub use trust_domain::{MAX_TRUST_DOMAIN_BYTES, TrustDomain};
pub use trust_state::{Generation, Revocation, RevocationKey, Revocations, RevokedKind, TrustState};
