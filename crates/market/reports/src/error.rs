//! The errors of this service, and their one conversion to a gRPC status.

use avouch_sqlite::StoreError;
use market_api::ids::IdError;
use market_api::money::MoneyError;
use tonic::Status;

use crate::summary::MAX_TOP;

/// An error of the reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportsError {
    /// The request asks for more customers than a summary lists.
    #[error("top_customers is at most {MAX_TOP}")]
    TooMany,
    /// The ledger sent a posting out of sequence.
    #[error("posting {got} came where {expected} was due")]
    OutOfSequence {
        /// The expected sequence number.
        expected: u64,
        /// The sequence number that was received.
        got: u64,
    },
    /// The ledger sent a message without a posting.
    #[error("posting {0} is empty")]
    EmptyPosting(u64),
    /// The ledger sent an invalid amount.
    #[error("posting {sequence}: {source}")]
    Money {
        /// The posting.
        sequence: u64,
        /// The cause.
        source: MoneyError,
    },
    /// The ledger sent an invalid customer account.
    #[error("posting {sequence}: {source}")]
    Customer {
        /// The posting.
        sequence: u64,
        /// The cause.
        source: IdError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<avouch_sqlite::rusqlite::Error> for ReportsError {
    fn from(error: avouch_sqlite::rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<ReportsError> for Status {
    fn from(error: ReportsError) -> Self {
        let message = error.to_string();
        match error {
            ReportsError::TooMany => Self::invalid_argument(message),
            ReportsError::OutOfSequence { .. }
            | ReportsError::EmptyPosting(_)
            | ReportsError::Money { .. }
            | ReportsError::Customer { .. } => Self::internal(message),
            ReportsError::Store(error) => {
                tracing::error!(%error, "the store failed");
                Self::unavailable("the store failed")
            }
        }
    }
}
