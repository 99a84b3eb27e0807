//! Everything that goes wrong here, and the one place that turns it into a gRPC status.

use market_api::ids::IdError;
use market_store::StoreError;
use tonic::Status;

/// What the inventory refuses, or fails at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// An ID is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// No lines, or too many.
    #[error("an order has 1 to {} lines", crate::lines::MAX_LINES)]
    LineCount,
    /// Nothing, or too much, of an article.
    #[error("a line has 1 to {} pieces", crate::lines::MAX_QUANTITY)]
    Quantity,
    /// The same order was reserved with other lines before.
    #[error("the order was reserved with other lines")]
    OtherLines,
    /// The reservation was given back: it cannot be held or committed any more.
    #[error("the reservation was released")]
    Released,
    /// The goods are gone: nothing can be given back.
    #[error("the reservation was committed")]
    Committed,
    /// Nothing is held for the order.
    #[error("nothing is held for the order")]
    NotHeld,
    /// No such article.
    #[error("no such article")]
    UnknownSku,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<market_store::rusqlite::Error> for InventoryError {
    fn from(error: market_store::rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<InventoryError> for Status {
    fn from(error: InventoryError) -> Self {
        let message = error.to_string();
        match error {
            InventoryError::Id(_) | InventoryError::LineCount | InventoryError::Quantity => {
                Self::invalid_argument(message)
            }
            InventoryError::OtherLines => Self::already_exists(message),
            InventoryError::Released | InventoryError::Committed | InventoryError::NotHeld => {
                Self::failed_precondition(message)
            }
            InventoryError::UnknownSku => Self::not_found(message),
            InventoryError::Store(error) => {
                tracing::error!(%error, "the store failed");
                Self::unavailable("the store failed")
            }
        }
    }
}
