//! Floods: sockets that send nothing, streams that are reset, headers that never end.
//!
//! [`sockets`] holds connections open before TLS and HTTP/2 have begun, [`Peer`] speaks HTTP/2 by hand on an
//! established connection, with the frames of [`frames`], and a [`Crowd`] is many such connections with one identity.
//! Each flood returns its result and ends by itself.

pub mod frames;
pub mod machine;
pub mod sockets;

mod crowd;
mod peer;

pub use crowd::{Conduct, Crowd};
pub use peer::{Peer, Seen};
