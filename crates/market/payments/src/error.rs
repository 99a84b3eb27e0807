//! The errors of this service, and their one conversion to a gRPC status.

use avouch_sqlite::StoreError;
use market_api::ids::IdError;
use market_api::money::MoneyError;
use tonic::Status;

/// An error of the payments. A charge that is declined is an answer, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentsError {
    /// An ID is invalid.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An amount is invalid.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The key was already used for another customer or amount.
    #[error("the key was used for another charge")]
    OtherCharge,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<avouch_sqlite::rusqlite::Error> for PaymentsError {
    fn from(error: avouch_sqlite::rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<PaymentsError> for Status {
    fn from(error: PaymentsError) -> Self {
        let message = error.to_string();
        match error {
            PaymentsError::Id(_) | PaymentsError::Money(_) => Self::invalid_argument(message),
            PaymentsError::OtherCharge => Self::already_exists(message),
            PaymentsError::Store(error) => {
                tracing::error!(%error, "the store failed");
                Self::unavailable("the store failed")
            }
        }
    }
}
