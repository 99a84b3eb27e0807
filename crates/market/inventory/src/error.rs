//! The errors of this service, and their one conversion to a gRPC status.

use avouch_sqlite::StoreError;
use market_api::ids::IdError;
use tonic::Status;

/// An error of the inventory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// An ID is invalid.
    #[error(transparent)]
    Id(#[from] IdError),
    /// No lines, or too many.
    #[error("an order has 1 to {} lines", market_api::limits::MAX_LINES)]
    LineCount,
    /// A quantity of zero, or too large.
    #[error("a line has 1 to {} pieces", market_api::limits::MAX_QUANTITY)]
    Quantity,
    /// The same order was reserved with other lines before.
    #[error("the order was reserved with other lines")]
    OtherLines,
    /// The reservation was released: it cannot be held or committed any more.
    #[error("the reservation was released")]
    Released,
    /// The reservation was committed: it cannot be released any more.
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

impl From<avouch_sqlite::rusqlite::Error> for InventoryError {
    fn from(error: avouch_sqlite::rusqlite::Error) -> Self {
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
