//! The seam to the services behind this one. Its gRPC side is [`Partners`](crate::Partners).

use std::future::Future;

use market_api::ids::OrderId;
use tonic::Status;

use crate::{Event, Order};

/// A step brought no answer that counts: it may or may not have been done, and has to be tried again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{step}: {} ({:?})", .status.message(), .status.code())]
pub struct Trouble {
    /// What was tried.
    pub step: &'static str,
    /// What came back.
    pub status: Status,
}

/// Carries the steps out. Every one is idempotent by order ID: doing it again brings the first answer again.
pub trait Downstream: Clone + Send + Sync + 'static {
    /// Holds the stock: [`Event::Held`] or [`Event::Refused`].
    fn reserve(&self, order: &Order) -> impl Future<Output = Result<Event, Trouble>> + Send;
    /// Charges the customer: [`Event::Posted`] or [`Event::Declined`].
    fn charge(&self, order: &Order) -> impl Future<Output = Result<Event, Trouble>> + Send;
    /// Takes the stock out: [`Event::Committed`].
    fn commit(&self, order: &OrderId) -> impl Future<Output = Result<Event, Trouble>> + Send;
    /// Gives the stock back: [`Event::Released`].
    fn release(&self, order: &OrderId) -> impl Future<Output = Result<Event, Trouble>> + Send;
}
