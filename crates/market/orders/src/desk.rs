//! The desk: takes orders and drives each through its steps.

use std::path::Path;
use std::time::{Duration, SystemTime};

use avouch_spiffe::SpiffeId;
use avouch_spiffe::clock::SharedClock;
use market_api::ids::OrderId;
use market_store::Store;

use crate::in_flight::{Claim, InFlight};
use crate::{Downstream, Event, Order, OrdersError, State, Step, Trouble, store};

/// How a [`Desk`] behaves in time.
#[derive(Clone, Copy, Debug)]
pub struct DeskOptions {
    /// How long [`Desk::place`] sees an order through before it answers with the state reached so far.
    pub patience: Duration,
}

/// An order as the desk holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was ordered.
    pub order: Order,
    /// How far it has come.
    pub state: State,
    /// When it became durable, to the millisecond.
    pub received_at: SystemTime,
    /// When its state last changed.
    pub updated_at: SystemTime,
}

/// Takes orders, durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk<D> {
    store: Store,
    downstream: D,
    clock: SharedClock,
    options: DeskOptions,
    in_flight: InFlight,
}

impl<D: Downstream> Desk<D> {
    /// Opens the database. Unfinished orders in it are the worker's: see [`run_worker`](crate::run_worker).
    ///
    /// # Errors
    /// What the store says.
    pub fn open(
        database: &Path,
        downstream: D,
        clock: SharedClock,
        options: DeskOptions,
    ) -> Result<Self, OrdersError> {
        let store = Store::open(database, store::MIGRATIONS)?;
        Ok(Self { store, downstream, clock, options, in_flight: InFlight::default() })
    }

    /// Takes an order and sees it through, for a while. `Ok` means it is durable; it may not be final yet.
    ///
    /// # Errors
    /// [`OrdersError::OtherContent`] for an ID that stands for another order, or the store's.
    pub async fn place(&self, order: Order, by: &SpiffeId) -> Result<Record, OrdersError> {
        let (id, by, now) = (order.id().clone(), by.as_str().to_owned(), self.clock.now());
        let record = self.store.call(move |c| store::receive(c, &order, &by, now)).await?;
        if record.state.is_final() {
            return Ok(record);
        }
        let seen_through = async {
            match self.in_flight.claim(&id) {
                Ok(claim) => self.drive(claim).await,
                Err(busy) => {
                    busy.ended().await;
                    Ok(())
                }
            }
        };
        match tokio::time::timeout(self.options.patience, seen_through).await {
            // The order is durable and goes on: whatever is wrong now is no answer to who placed it.
            Err(_) | Ok(Ok(()) | Err(DriveError::Trouble(_))) => {}
            Ok(Err(DriveError::Orders(error))) => return Err(error),
        }
        self.get(id).await
    }

    /// An order that was taken.
    ///
    /// # Errors
    /// [`OrdersError::NotFound`], or the store's.
    pub async fn get(&self, order: OrderId) -> Result<Record, OrdersError> {
        self.store.call(move |c| store::find(c, &order)).await?.ok_or(OrdersError::NotFound)
    }

    /// Tries to finish an order, unless somebody else does; whether nothing is left to do for the caller.
    pub(crate) async fn finish(&self, order: &OrderId) -> bool {
        let Ok(claim) = self.in_flight.claim(order) else { return true };
        match tokio::time::timeout(self.options.patience, self.drive(claim)).await {
            Ok(Ok(())) => true,
            Ok(Err(DriveError::Trouble(_))) | Err(_) => false,
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

    /// Until an order is left unfinished by its driver.
    pub(crate) async fn left(&self) {
        self.in_flight.left().await;
    }

    /// Step by step to a final state. Every state is durable before the next step; it may be cancelled anywhere.
    #[tracing::instrument(skip_all, fields(order_id = %claim.order(), state))]
    async fn drive(&self, mut claim: Claim) -> Result<(), DriveError> {
        let mut record = self.get(claim.order().clone()).await?;
        while let Some(step) = record.state.next() {
            let event = match self.take(step, &record.order).await {
                Ok(event) => event,
                Err(trouble) => {
                    tracing::warn!(%trouble, state = record.state.name(), "the order waits");
                    return Err(trouble.into());
                }
            };
            let next = record.state.after(event).map_err(OrdersError::from)?;
            let (id, from, to, now) = (claim.order().clone(), record.state, next.clone(), self.clock.now());
            let ours = self.store.call(move |c| store::advance(c, &id, &from, &to, now)).await?;
            // A replica on the same file drives it too: steps are idempotent, so go on from where it is.
            record.state = if ours { next } else { self.get(claim.order().clone()).await?.state };
        }
        tracing::Span::current().record("state", record.state.name());
        claim.finish();
        Ok(())
    }

    async fn take(&self, step: Step, order: &Order) -> Result<Event, Trouble> {
        match step {
            Step::Reserve => self.downstream.reserve(order).await,
            Step::Charge => self.downstream.charge(order).await,
            Step::Commit => self.downstream.commit(order.id()).await,
            Step::Release => self.downstream.release(order.id()).await,
        }
    }
}

/// Why driving stopped before the end.
#[derive(Debug, thiserror::Error)]
enum DriveError {
    /// To be tried again.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// Nothing that waiting cures by itself.
    #[error(transparent)]
    Orders(#[from] OrdersError),
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
