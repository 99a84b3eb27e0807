//! The options for asking a fleet: which processes, and with which identity.

use crate::admin::AdminSocket;
use avouch_identity::FilesConfig;
use avouch_spiffe::{HostPort, HostPortError, SpiffeId, SpiffeIdError};
use std::str::FromStr;

/// The options for asking the issuer and all workloads.
#[derive(Debug, Clone)]
pub struct AskOptions {
    /// The issuer's administration socket.
    pub admin: AdminSocket,
    /// The identity to ask the workloads with.
    pub ask_as: AskAs,
    /// Workloads to ask beside those that the issuer lists.
    pub workloads: Vec<WorkloadTarget>,
}

/// The identity that the workloads are asked with.
#[derive(Debug, Clone)]
pub enum AskAs {
    /// The identity of these files.
    Files(FilesConfig),
    /// An identity that is enrolled for this run at the issuer whose socket may be used, and kept in memory.
    Enrolled {
        /// Its SPIFFE ID; without it `spiffe://TRUST-DOMAIN/operator`.
        operator: Option<SpiffeId>,
    },
}

/// A workload to ask: where it listens, and who has to answer there. As text: `HOST:PORT=SPIFFE_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadTarget {
    /// The address at which it listens.
    pub address: HostPort,
    /// The SPIFFE ID that has to answer there.
    pub spiffe_id: SpiffeId,
}

/// Why a text is not a [`WorkloadTarget`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadTargetError {
    /// There is no `=`.
    #[error("write HOST:PORT=SPIFFE_ID, as in 127.0.0.1:7001=spiffe://market.example/orders")]
    NoSpiffeId,
    /// The text before the `=` is not an address.
    #[error("{text:?} is not of the form HOST:PORT: {error}")]
    Address {
        /// The text.
        text: String,
        /// The problem with it.
        error: HostPortError,
    },
    /// The text after the `=` is not a SPIFFE ID.
    #[error("{text:?} is no SPIFFE ID: {error}")]
    SpiffeId {
        /// The text.
        text: String,
        /// The problem with it.
        error: SpiffeIdError,
    },
}

impl FromStr for WorkloadTarget {
    type Err = WorkloadTargetError;

    fn from_str(text: &str) -> Result<Self, WorkloadTargetError> {
        let (address, id) = text.split_once('=').ok_or(WorkloadTargetError::NoSpiffeId)?;
        let address = address
            .parse()
            .map_err(|error| WorkloadTargetError::Address { text: address.to_owned(), error })?;
        let spiffe_id =
            id.parse().map_err(|error| WorkloadTargetError::SpiffeId { text: id.to_owned(), error })?;
        Ok(Self { address, spiffe_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_an_address_and_who_must_answer_there() {
        let target: WorkloadTarget = "[::1]:7001=spiffe://market.example/orders".parse().unwrap();
        assert_eq!(target.address.to_string(), "[::1]:7001");
        assert_eq!(target.spiffe_id.as_str(), "spiffe://market.example/orders");
        for nonsense in [
            "",
            "127.0.0.1:7001",
            "=spiffe://market.example/orders",
            "orders=spiffe://market.example/orders",
            "orders:0=spiffe://market.example/orders",
            "or ders:1=spiffe://market.example/orders",
            "user@orders:1=spiffe://market.example/orders",
            "orders/x:1=spiffe://market.example/orders",
            "::1:7001=spiffe://market.example/orders",
            "[orders]:7001=spiffe://market.example/orders",
            "127.0.0.1:7001=market.example/orders",
        ] {
            assert!(nonsense.parse::<WorkloadTarget>().is_err(), "{nonsense}");
        }
    }
}
