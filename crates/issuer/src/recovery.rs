//! Recovery of a workload whose SVID has expired, by the expired chain and a proof of possession of its key.
//!
//! This module refuses a nonce that is not this connection's, a chain that does not lead to a root of ours, and a proof
//! that does not verify. The store and the entry are consulted after that, in [`crate::issuance`].

mod chain;
pub(crate) mod nonces;
mod proof;

pub use chain::ChainError;
pub use nonces::NonceError;

use avouch_spiffe::x509::Leaf;
use avouch_spiffe::{Bundle, Reason};
use std::time::SystemTime;

/// The request of a workload that recovers.
#[derive(Debug)]
pub(crate) struct RecoveryRequest {
    /// The expired chain: DER, leaf first.
    pub(crate) expired_chain: Vec<Vec<u8>>,
    /// The nonce from BeginRecovery.
    pub(crate) nonce: Vec<u8>,
    /// The proof: a signature by the expired SVID's key.
    pub(crate) proof: Vec<u8>,
    /// The certificate signing request for the new key.
    pub(crate) csr: Vec<u8>,
}

/// A recovery that fails before anything is issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The nonce is not one of this connection, or was used, or is too old.
    #[error("the nonce is unknown, spent, too old or another connection's")]
    Nonce,
    /// The TLS library gave no keying material to bind to.
    #[error("the connection exports no keying material to bind the proof to")]
    NoChannelBinding,
    /// The chain is not accepted.
    #[error("the expired chain is not taken")]
    Chain(#[from] ChainError),
    /// The signature does not verify.
    #[error("the proof is no signature of the expired SVID's key over this connection, nonce and request")]
    Proof,
    /// The certificate is not in the inventory.
    #[error("the certificate {serial} is not in the inventory (was the store restored from a backup?)")]
    NotOnRecord {
        /// Its serial.
        serial: String,
    },
    /// The certificate's record has another key or owner: it cannot be ours.
    #[error("the certificate {serial} differs from its record")]
    DiffersFromRecord {
        /// Its serial.
        serial: String,
    },
    /// It expired too long ago.
    #[error("the recovery window of the certificate {serial} is over")]
    WindowOver {
        /// Its serial.
        serial: String,
        /// The end of the window.
        ended: SystemTime,
    },
    /// Its registration has recovered as often as it may.
    #[error(
        "certificate {serial} may not recover: its entry's recovery_limit of {limit} is reached; register the workload again \
         (`avouch entry delete`, `avouch entry add`) and give it a new join token"
    )]
    LimitReached {
        /// Its serial.
        serial: String,
        /// The limit.
        limit: u32,
    },
}

impl RecoveryError {
    /// The reason that the refusal carries.
    pub fn reason(&self) -> Reason {
        match self {
            // There is no separate reason for a proof: it is a signature that does not verify.
            Self::Nonce | Self::NoChannelBinding | Self::Proof => Reason::CertSignatureInvalid,
            Self::Chain(error) => error.reason(),
            Self::NotOnRecord { .. } => Reason::NoMatchingEntry,
            Self::DiffersFromRecord { .. } => Reason::CertUntrusted,
            Self::WindowOver { .. } | Self::LimitReached { .. } => Reason::RecoveryWindowOver,
        }
    }
}

/// Verifies chain and proof; the nonce has been spent by the caller. Gives the expired leaf.
pub(crate) fn verify(
    request: &RecoveryRequest,
    exporter: Option<&[u8; 32]>,
    bundle: &Bundle,
) -> Result<Leaf, RecoveryError> {
    let exporter = exporter.ok_or(RecoveryError::NoChannelBinding)?;
    let leaf = chain::verify(&request.expired_chain, bundle)?;
    let message = avouch_identity::recovery_message(exporter, &request.nonce, &request.csr);
    if !proof::holds(&leaf, &message, &request.proof) {
        return Err(RecoveryError::Proof);
    }
    Ok(leaf)
}
