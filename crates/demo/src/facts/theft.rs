use serde::{Deserialize, Serialize};

/// A stolen key: who used it, how that was noticed, and how it was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Theft {
    /// Name of the service whose identity was copied.
    pub service: String,
    /// Serial number of the certificate that was stolen.
    pub stolen: String,
    /// Serial numbers of the certificates that the thief got by it, oldest first.
    pub thieves: Vec<String>,
    /// Serial number of the certificate that the rightful owner got by it.
    pub owner: String,
    /// When the identity was copied, milliseconds after the run began.
    pub stolen_ms: u64,
    /// When the owner had its certificate, and two had come of one.
    pub forked_ms: u64,
    /// When the issuer listed the fork.
    pub noticed_ms: u64,
    /// The command that cut the thief off.
    pub command: String,
    /// When the revocation was durable.
    pub revoked_ms: u64,
    /// When the last connection of the thief was closed, by the log of the service that closed it.
    pub closed_ms: u64,
    /// From the one to the other, in microseconds.
    pub cut_us: u64,
    /// Connections that were closed.
    pub connections: u64,
    /// The reason with which the thief's stream ended.
    pub told: String,
}
