//! The shared identity library: SPIFFE identities that rotate by themselves, for tonic servers and clients.
//!
//! * [`Identity`] is a cheap handle to the workload's SVID and bundles, kept fresh from the issuer or from files.
//! * [`Server`] serves a tonic service over mutual TLS and hands every request the caller's
//!   [`PeerIdentity`](avouch_spiffe::PeerIdentity).
//! * [`Channel`] calls one, naming the SPIFFE ID it expects; it survives rotation, retirement and restarts.
//!
//! TLS 1.3 only, no session resumption, one verdict per connection attempt in one vocabulary of reasons. This crate
//! verifies and uses certificates; it cannot sign any.

mod channel;
mod config;
pub mod deadline;
mod examine;
mod filter;
mod grpc_only;
mod http_rules;
mod issuer_clock;
mod jitter;
pub mod listen;
mod record;
mod server;
mod snapshot;
mod source;
mod status;
mod supervise;
mod svid;
mod tls;
mod trust;
mod verify;

pub use channel::{Call, Channel, ChannelBuilder, ChannelError, ResponseBody, server_address};
pub use config::{FederatedBundle, FilesConfig, IdentityConfig, IdentityConfigError, IssuerConfig};
pub use examine::handshake_failure;
pub use filter::IdentityFilter;
pub use grpc_only::{GrpcOnly, GrpcOnlyFuture};
pub use issuer_clock::ClockDifference;
pub use record::{
    ConnectionClosed, ConnectionEnd, ConnectionId, ConnectionInfo, ConnectionObserver, ConnectionRecord,
    LogObserver, Presented, RequestRefused, Slot, UnknownConnectionId, Verdict, network_of,
};
pub use server::{Drained, Server, ServerError, ServerOptions};
pub use snapshot::{Identity, Publisher, Snapshot};
pub use source::{
    IdentityError, IdentityEvent, IdentityObserver, IdentityStarter, RECOVERY_BINDING, SourceProblem,
    recovery_message,
};
pub use status::{code, reason, status};
pub use svid::{Svid, SvidLoadError};
pub use tls::{TlsOffer, crypto_provider};
pub use trust::TrustStore;
pub use verify::{ChainLimits, Rejection};

/// The types of the SPIFFE crate, for those who need no other.
pub use avouch_spiffe as spiffe;
