//! The till itself: takes charges, hands them to the ledger.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use market_api::ids::{CustomerId, OrderId};
use market_api::money::{Currency, Money};
use market_store::Store;
use tokio::sync::Notify;
use tonic::Status;

use crate::{Book, Charge, Limits, PaymentsError, Receipt, store};

/// How a [`Till`] behaves in time.
#[derive(Clone, Copy, Debug)]
pub struct TillOptions {
    /// How long a charge waits for the ledger before it is answered as pending.
    pub patience: Duration,
}

/// A customer's credit in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The most that may be used.
    pub limit: Money,
    /// Charged so far.
    pub used: Money,
}

/// Takes charges, durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Till<B> {
    store: Store,
    book: B,
    limits: Arc<Limits>,
    options: TillOptions,
    /// Wakes the worker: something was left pending.
    left_pending: Arc<Notify>,
}

/// Tells the worker about a charge that is left pending, however its call ends: by an error, or cancelled.
struct HandOver<'a>(Option<&'a Notify>);

impl Drop for HandOver<'_> {
    fn drop(&mut self) {
        if let Some(worker) = self.0 {
            worker.notify_one();
        }
    }
}

impl<B: Book> Till<B> {
    /// Opens the database. Limits of customers it knows are brought up to date, never below what they have used.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(
        database: &Path,
        book: B,
        limits: Limits,
        options: TillOptions,
    ) -> Result<Self, PaymentsError> {
        let store = Store::open(database, store::MIGRATIONS)?;
        let limits = Arc::new(limits);
        let current = Arc::clone(&limits);
        store.call(move |c| store::update_limits(c, &current)).await?;
        Ok(Self { store, book, limits, options, left_pending: Arc::new(Notify::new()) })
    }

    /// Charges, and posts to the ledger if it answers in time.
    ///
    /// # Errors
    /// [`PaymentsError::OtherCharge`], or the store's. A ledger that is away is no error: the charge is pending.
    pub async fn charge(&self, charge: Charge) -> Result<Receipt, PaymentsError> {
        let (asked, limits) = (charge.clone(), Arc::clone(&self.limits));
        let receipt = self.store.call(move |c| store::charge(c, &asked, &limits)).await?;
        if receipt != Receipt::Pending {
            return Ok(receipt);
        }
        let mut hand_over = HandOver(Some(&self.left_pending));
        if !self.settle(&charge).await {
            return Ok(Receipt::Pending);
        }
        hand_over.0 = None;
        Ok(Receipt::Posted)
    }

    /// Posts one pending charge; whether that is done.
    pub(crate) async fn settle(&self, charge: &Charge) -> bool {
        let settled = tokio::time::timeout(self.options.patience, self.try_settle(charge)).await;
        let settled = settled.unwrap_or_else(|_elapsed| Err(Status::deadline_exceeded("the ledger is slow")));
        if let Err(error) = &settled {
            tracing::warn!(key = %charge.key(), code = ?error.code(), error = error.message(), "not posted yet");
        }
        settled.is_ok()
    }

    async fn try_settle(&self, charge: &Charge) -> Result<(), Status> {
        self.book.post(charge.posting()?).await?;
        let key: OrderId = charge.key().clone();
        self.store.call::<_, PaymentsError, _>(move |c| store::posted(c, &key)).await?;
        Ok(())
    }

    /// At most `limit` charges that the ledger does not have, oldest first, after the row `after`; each with its row.
    pub(crate) async fn pending(&self, after: i64, limit: u32) -> Result<Vec<(i64, Charge)>, PaymentsError> {
        self.store.call(move |c| store::pending(c, after, limit)).await
    }

    /// Until a charge is left pending.
    pub(crate) async fn left_pending(&self) {
        self.left_pending.notified().await;
    }

    /// A customer's credit.
    ///
    /// # Errors
    /// The store's.
    pub async fn credit(&self, customer: CustomerId, currency: Currency) -> Result<Credit, PaymentsError> {
        let limits = Arc::clone(&self.limits);
        let (limit, used) = self
            .store
            .call::<_, PaymentsError, _>(move |c| store::credit(c, &customer, currency, &limits))
            .await?;
        let money = |minor_units| Money { currency, minor_units };
        Ok(Credit { limit: money(limit), used: money(used) })
    }
}

#[cfg(test)]
#[path = "till_tests.rs"]
mod tests;
