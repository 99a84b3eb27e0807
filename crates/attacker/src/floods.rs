//! Much of everything: sockets that say nothing, streams that are reset, headers that never end.
//!
//! [`sockets`] holds places before TLS and HTTP/2 have begun, [`Peer`] speaks HTTP/2 by hand on a connection that is
//! up, with the frames of [`frames`]. Each flood says what came of it and ends by itself.

pub mod frames;
pub mod machine;
pub mod sockets;

mod peer;

pub use peer::{Peer, Seen};
