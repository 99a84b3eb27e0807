//! Takes orders and drives each through its steps.

use std::path::Path;
use std::time::Duration;

use avouch_spiffe::SpiffeId;
use avouch_sqlite::Store;
use avouch_time::clock::SharedClock;
use market_api::ids::OrderId;

use crate::in_flight::{Claim, InFlight};
use crate::{Downstream, Event, Order, OrdersError, Record, Step, TransientError, store};

/// The timeouts of [`Orders`].
#[derive(Clone, Copy, Debug)]
pub struct OrdersOptions {
    /// How long [`Orders::place`] drives an order before it answers with the state reached so far.
    pub timeout: Duration,
}

/// The orders, durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Orders<D> {
    store: Store,
    downstream: D,
    clock: SharedClock,
    options: OrdersOptions,
    in_flight: InFlight,
}

impl<D: Downstream> Orders<D> {
    /// Opens the database. The worker finishes the unfinished orders in it: see [`run_worker`](crate::run_worker).
    ///
    /// # Errors
    /// An error of the store.
    pub fn open(
        database: &Path,
        downstream: D,
        clock: SharedClock,
        options: OrdersOptions,
    ) -> Result<Self, OrdersError> {
        let store = Store::open(database, store::MIGRATIONS)?;
        Ok(Self { store, downstream, clock, options, in_flight: InFlight::default() })
    }

    /// Accepts an order and drives it until the timeout. `Ok` means that it is durable; it may not be final yet.
    ///
    /// # Errors
    /// [`OrdersError::OtherContent`] for an ID that was used for another order, or an error of the store.
    pub async fn place(&self, order: Order, by: &SpiffeId) -> Result<Record, OrdersError> {
        let (id, by, now) = (order.id().clone(), by.as_str().to_owned(), self.clock.now());
        let record = self.store.call(move |c| store::receive(c, &order, &by, now)).await?;
        if record.state.is_final() {
            return Ok(record);
        }
        let driven = async {
            match self.in_flight.claim(&id) {
                Ok(claim) => self.drive(claim).await,
                Err(busy) => {
                    busy.ended().await;
                    Ok(())
                }
            }
        };
        match tokio::time::timeout(self.options.timeout, driven).await {
            // The order is durable and the worker will finish it, so a failure from here on is not an error of the
            // call.
            Err(_) | Ok(Ok(()) | Err(DriveError::Transient(_))) => {}
            Ok(Err(DriveError::Orders(error))) => return Err(error),
        }
        self.get(id).await
    }

    /// An order that was taken.
    ///
    /// # Errors
    /// [`OrdersError::NotFound`], or an error of the store.
    pub async fn get(&self, order: OrderId) -> Result<Record, OrdersError> {
        self.store.call(move |c| store::find(c, &order)).await?.ok_or(OrdersError::NotFound)
    }

    /// Tries to finish an order, unless another driver does; returns whether the caller need not try again.
    pub(crate) async fn finish(&self, order: &OrderId) -> bool {
        let Ok(claim) = self.in_flight.claim(order) else { return true };
        match tokio::time::timeout(self.options.timeout, self.drive(claim)).await {
            Ok(Ok(())) => true,
            Ok(Err(DriveError::Transient(_))) | Err(_) => false,
            Ok(Err(DriveError::Orders(error))) => {
                tracing::error!(order_id = %order, %error, "an order cannot go on");
                false
            }
        }
    }

    /// At most `limit` orders that are not final, oldest first, after the row `after`; each with its row.
    pub(crate) async fn unfinished(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, OrderId)>, OrdersError> {
        self.store.call(move |c| store::unfinished(c, after, limit)).await
    }

    /// Waits until a driver leaves its order unfinished.
    pub(crate) async fn left(&self) {
        self.in_flight.left().await;
    }

    /// Drives an order step by step to a final state. Every state is durable before the next step, so this may be cancelled
    /// anywhere.
    #[tracing::instrument(skip_all, fields(order_id = %claim.order(), state))]
    async fn drive(&self, mut claim: Claim) -> Result<(), DriveError> {
        let mut record = self.get(claim.order().clone()).await?;
        while let Some(step) = record.state.next() {
            let event = match self.take(step, &record.order).await {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(trouble = %error, state = record.state.name(), "the order waits");
                    return Err(error.into());
                }
            };
            let next = record.state.after(event).map_err(OrdersError::from)?;
            let (id, from, to, now) = (claim.order().clone(), record.state, next.clone(), self.clock.now());
            let ours = self.store.call(move |c| store::advance(c, &id, &from, &to, now)).await?;
            // If not, a replica on the same file drives it too. Steps are idempotent, so go on from its state.
            record.state = if ours { next } else { self.get(claim.order().clone()).await?.state };
        }
        tracing::Span::current().record("state", record.state.name());
        claim.finish();
        Ok(())
    }

    async fn take(&self, step: Step, order: &Order) -> Result<Event, TransientError> {
        match step {
            Step::Reserve => self.downstream.reserve(order).await,
            Step::Charge => self.downstream.charge(order).await,
            Step::Commit => self.downstream.commit(order.id()).await,
            Step::Release => self.downstream.release(order.id()).await,
        }
    }
}

/// The reason why driving stopped before the end.
#[derive(Debug, thiserror::Error)]
enum DriveError {
    /// The step has to be tried again.
    #[error(transparent)]
    Transient(#[from] TransientError),
    /// Trying again does not help.
    #[error(transparent)]
    Orders(#[from] OrdersError),
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
