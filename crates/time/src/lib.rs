//! Time as every avouch crate handles it: the wall clock is a value that is passed in ([`clock`]), durations in
//! configuration files and on command lines have one grammar ([`duration`]), deadlines of calls another ([`grpc_timeout`]), and
//! timestamps are RFC 3339 ([`timestamp`]).

pub mod clock;
pub mod duration;
pub mod grpc_timeout;
pub mod timestamp;

pub use duration::{ConfigDuration, DurationError};
pub use timestamp::{parse_rfc3339, relative, rfc3339};
