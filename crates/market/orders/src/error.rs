//! Everything that goes wrong here, and the one place that turns it into a gRPC status.

use avouch_spiffe::Reason;
use market_api::ids::IdError;
use market_api::money::MoneyError;
use market_store::StoreError;
use tonic::Status;

use crate::order::{MAX_LINES, MAX_QUANTITY};
use crate::state::IllegalEvent;

/// What orders refuse, or fail at. An order that is rejected is an answer, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrdersError {
    /// An ID is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A currency, a price or a sum is not one.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// No lines, or too many.
    #[error("an order has 1 to {MAX_LINES} lines")]
    LineCount,
    /// Nothing, or too much, of an article.
    #[error("a line has 1 to {MAX_QUANTITY} pieces")]
    Quantity,
    /// One of the above, in a line.
    #[error("line {position}: {error}")]
    Line {
        /// Which line, from 1.
        position: usize,
        /// What is wrong with it.
        error: Box<OrdersError>,
    },
    /// The order's ID stands for another order already.
    #[error("the order ID was used with other content")]
    OtherContent,
    /// No such order was taken.
    #[error("no such order")]
    NotFound,
    /// Nobody is known to have sent the request.
    #[error("the connection has no verified peer")]
    NoPeer,
    /// A step brought what it cannot bring.
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OrdersError {
    /// This error as one of a line.
    pub(crate) fn in_line(self, position: usize) -> Self {
        Self::Line { position, error: Box::new(self) }
    }
}

impl From<market_store::rusqlite::Error> for OrdersError {
    fn from(error: market_store::rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<OrdersError> for Status {
    fn from(error: OrdersError) -> Self {
        let message = error.to_string();
        match error {
            OrdersError::Id(_)
            | OrdersError::Money(_)
            | OrdersError::LineCount
            | OrdersError::Quantity
            | OrdersError::Line { .. } => Self::invalid_argument(message),
            OrdersError::OtherContent => Self::already_exists(message),
            OrdersError::NotFound => Self::not_found(message),
            OrdersError::NoPeer => avouch_identity::status(Reason::NoPeerIdentity, message, []),
            OrdersError::Illegal(error) => {
                tracing::error!(%error, "an order took a step it cannot take");
                Self::internal("the order is stuck")
            }
            OrdersError::Store(error) => {
                tracing::error!(%error, "the store failed");
                Self::unavailable("the store failed")
            }
        }
    }
}
