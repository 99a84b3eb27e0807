//! The shared identity library: SPIFFE identities that rotate by themselves, for tonic servers and clients.
//!
//! * [`Identity`] is a cheap handle to the workload's SVID and bundles, kept fresh from the issuer or from files.
//! * [`Server`] serves a tonic service over mutual TLS and hands every request the caller's
//!   [`PeerIdentity`](avouch_spiffe::PeerIdentity).
//! * [`Channel`] calls one, naming the SPIFFE ID it expects; it survives rotation, retirement and restarts.
//!
//! TLS 1.3 only, no session resumption, one verdict per connection attempt in one vocabulary of reasons. This crate
//! verifies and uses certificates; it cannot sign any.

mod call_end;
mod channel;
mod clock_skew;
mod clock_watch;
mod config;
mod connection_shutdown;
mod crypto;
pub mod deadline;
pub mod examine;
mod filter;
mod grpc_only;
mod http_rules;
mod identity;
mod jitter;
pub mod listen;
mod method_set;
mod move_delay;
mod negotiated_tls;
mod record;
pub mod renewal_schedule;
mod resume;
mod server;
mod source;
mod status;
mod supervise;
mod svid;
mod time_text;
mod tls;
mod trust;
mod validity;
mod verify;

pub use call_end::ending_reason;
pub use channel::{Call, Channel, ChannelBuilder, ChannelError, ResponseBody, Retirement, server_address};
pub use clock_skew::ClockDifference;
pub use config::{FederatedBundle, FilesConfig, IdentityConfig, IdentityConfigError, IssuerConfig};
pub use crypto::crypto_provider;
pub use filter::IdentityFilter;
pub use grpc_only::{GrpcOnly, GrpcOnlyFuture};
pub use identity::{Identity, Publisher, Snapshot, Update};
pub use record::{
    CallRefused, ConnectionClosed, ConnectionEnd, ConnectionExtensions, ConnectionId, ConnectionInfo,
    ConnectionObserver, ConnectionRecord, LogObserver, Presented, RequestRefused, UnknownConnectionId,
    Verdict, network_of,
};
pub use resume::{ResumableStream, ResumeEvent};
pub use server::{
    Drained, Holder, RequestBody, Resource, Server, ServerError, ServerOptions, ShareExceeded, Shares, Usage,
};
pub use source::{
    HeldTrust, IdentityError, IdentityEvent, IdentityObserver, IdentityStarter, RECOVERY_BINDING,
    SourceProblem, TrustUpdateError, recovery_message,
};
pub use status::{code, reason, status};
pub use svid::{Svid, SvidLoadError};
pub use tls::TlsParameters;
pub use trust::TrustStore;
pub use verify::{ChainLimits, Rejection};

/// The types of the SPIFFE crate, for those who need no other.
pub use avouch_spiffe as spiffe;
/// Clocks, for [`IdentityStarter::clock`] and [`Identity::publisher_with_clock`].
pub use avouch_time as time;
