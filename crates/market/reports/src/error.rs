//! Everything that goes wrong here, and the one place that turns it into a gRPC status.

use market_api::ids::IdError;
use market_api::money::MoneyError;
use market_store::StoreError;
use tonic::Status;

/// What the reports refuse, or fail at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportsError {
    /// More customers than anybody reads.
    #[error("top_customers is at most {}", crate::service::MAX_TOP)]
    TooMany,
    /// The ledger sent another posting than the next one.
    #[error("posting {got} came where {expected} was due")]
    OutOfSequence {
        /// The cursor's successor.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The ledger sent a message without a posting.
    #[error("posting {0} is empty")]
    EmptyPosting(u64),
    /// The ledger sent an amount that is none.
    #[error("posting {sequence}: {source}")]
    Money {
        /// Which posting.
        sequence: u64,
        /// What is wrong with it.
        source: MoneyError,
    },
    /// The ledger sent a customer's account that is none.
    #[error("posting {sequence}: {source}")]
    Customer {
        /// Which posting.
        sequence: u64,
        /// What is wrong with it.
        source: IdError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<market_store::rusqlite::Error> for ReportsError {
    fn from(error: market_store::rusqlite::Error) -> Self {
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
