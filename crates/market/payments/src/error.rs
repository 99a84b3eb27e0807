//! Everything that goes wrong here, and the one place that turns it into a gRPC status.

use market_api::ids::IdError;
use market_api::money::MoneyError;
use market_store::StoreError;
use tonic::Status;

/// What the payments refuse, or fail at. A charge that is declined is an answer, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentsError {
    /// An ID is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An amount is not one.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The key stands for another customer or amount already.
    #[error("the key was used for another charge")]
    OtherCharge,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<market_store::rusqlite::Error> for PaymentsError {
    fn from(error: market_store::rusqlite::Error) -> Self {
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
