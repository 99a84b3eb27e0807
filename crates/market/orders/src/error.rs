//! The errors of this service, and their one conversion to a gRPC status.

use avouch_spiffe::Reason;
use avouch_sqlite::StoreError;
use market_api::ids::IdError;
use market_api::limits::{MAX_LINES, MAX_QUANTITY};
use market_api::money::MoneyError;
use tonic::Status;

use crate::state::IllegalEvent;

/// An error of the orders. An order that is rejected is an answer, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrdersError {
    /// An ID is invalid.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A currency, a price or a sum is invalid.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// No lines, or too many.
    #[error("an order has 1 to {MAX_LINES} lines")]
    LineCount,
    /// A quantity of zero, or too large.
    #[error("a line has 1 to {MAX_QUANTITY} pieces")]
    Quantity,
    /// One of the above errors, in a line.
    #[error("line {position}: {error}")]
    Line {
        /// The line, from 1.
        position: usize,
        /// The error.
        error: Box<OrdersError>,
    },
    /// The order's ID was already used for another order.
    #[error("the order ID was used with other content")]
    OtherContent,
    /// No such order was taken.
    #[error("no such order")]
    NotFound,
    /// The request came without a verified peer.
    #[error("the connection has no verified peer")]
    NoPeer,
    /// A step had an impossible outcome.
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

impl From<avouch_sqlite::rusqlite::Error> for OrdersError {
    fn from(error: avouch_sqlite::rusqlite::Error) -> Self {
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
