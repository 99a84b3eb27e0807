//! The interface to the services that an order needs. [`Clients`](crate::Clients) implements it over gRPC.

use std::future::Future;

use market_api::ids::OrderId;
use tonic::Status;

use crate::{Event, Order};

/// A step that failed without a decision: it may or may not have been carried out, and has to be retried.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{step}: {} ({:?})", .status.message(), .status.code())]
pub struct TransientError {
    /// The step that was tried.
    pub step: &'static str,
    /// The status that it failed with.
    pub status: Status,
}

/// The steps of an order, carried out. Each is idempotent by order ID: a repeated call gets the first answer again.
pub trait Downstream: Clone + Send + Sync + 'static {
    /// Holds the stock: [`Event::Held`] or [`Event::Refused`].
    fn reserve(&self, order: &Order) -> impl Future<Output = Result<Event, TransientError>> + Send;
    /// Charges the customer: [`Event::Posted`] or [`Event::Declined`].
    fn charge(&self, order: &Order) -> impl Future<Output = Result<Event, TransientError>> + Send;
    /// Commits the reservation, so that the pieces leave the stock: [`Event::Committed`].
    fn commit(&self, order: &OrderId) -> impl Future<Output = Result<Event, TransientError>> + Send;
    /// Releases the reservation: [`Event::Released`].
    fn release(&self, order: &OrderId) -> impl Future<Output = Result<Event, TransientError>> + Send;
}
