//! The inputs of path validation by webpki: the purpose of the chain, and the time.

use std::time::SystemTime;

use rustls::pki_types::UnixTime;
use webpki::KeyUsage;

/// The end of the connection that presented the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

impl Role {
    /// webpki asks this of the whole chain, so it must allow authorities without the extension; that the leaf has
    /// it is a leaf check.
    pub(super) fn usage(self) -> KeyUsage {
        match self {
            Self::Client => KeyUsage::client_auth(),
            Self::Server => KeyUsage::server_auth(),
        }
    }
}

/// A moment as webpki takes it; one before 1970 counts as 1970.
pub(crate) fn unix_time(now: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
