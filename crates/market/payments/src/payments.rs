//! The operations of payments: accepts charges and posts them to the ledger.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use avouch_sqlite::Store;
use market_api::ids::{CustomerId, OrderId};
use market_api::money::{Currency, Money};
use tokio::sync::Notify;
use tonic::Status;

use crate::{Charge, LedgerClient, Limits, PaymentsError, Receipt, store};

/// The timeouts of [`Payments`].
#[derive(Clone, Copy, Debug)]
pub struct PaymentsOptions {
    /// How long a charge waits for the ledger before it is answered as pending.
    pub timeout: Duration,
}

/// A customer's credit in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The most that may be charged.
    pub limit: Money,
    /// The sum of the charges so far.
    pub used: Money,
}

/// The payments, durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Payments<L> {
    store: Store,
    ledger: L,
    limits: Arc<Limits>,
    options: PaymentsOptions,
    /// Wakes the worker when a charge was left pending.
    left_pending: Arc<Notify>,
}

/// Wakes the worker about a charge that is left pending, however its call ends: with an error, or cancelled.
struct HandOver<'a>(Option<&'a Notify>);

impl Drop for HandOver<'_> {
    fn drop(&mut self) {
        if let Some(worker) = self.0 {
            worker.notify_one();
        }
    }
}

impl<L: LedgerClient> Payments<L> {
    /// Opens the database and updates the limits of the customers in it, never below what they have used.
    ///
    /// # Errors
    /// An error of the store.
    pub async fn open(
        database: &Path,
        ledger: L,
        limits: Limits,
        options: PaymentsOptions,
    ) -> Result<Self, PaymentsError> {
        let store = Store::open(database, store::MIGRATIONS)?;
        let limits = Arc::new(limits);
        let current = Arc::clone(&limits);
        store.call(move |c| store::update_limits(c, &current)).await?;
        Ok(Self { store, ledger, limits, options, left_pending: Arc::new(Notify::new()) })
    }

    /// Charges, and posts to the ledger if it answers in time.
    ///
    /// # Errors
    /// [`PaymentsError::OtherCharge`], or an error of the store. An unavailable ledger is no error: the charge stays
    /// pending.
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

    /// Posts one pending charge; returns whether the ledger has it.
    pub(crate) async fn settle(&self, charge: &Charge) -> bool {
        let settled = tokio::time::timeout(self.options.timeout, self.try_settle(charge)).await;
        let settled = settled.unwrap_or_else(|_elapsed| Err(Status::deadline_exceeded("the ledger is slow")));
        if let Err(error) = &settled {
            tracing::warn!(key = %charge.key(), code = ?error.code(), error = error.message(), "not posted yet");
        }
        settled.is_ok()
    }

    async fn try_settle(&self, charge: &Charge) -> Result<(), Status> {
        self.ledger.post(charge.posting()?).await?;
        let key: OrderId = charge.key().clone();
        self.store.call::<_, PaymentsError, _>(move |c| store::posted(c, &key)).await?;
        Ok(())
    }

    /// At most `limit` charges that the ledger does not have, oldest first, after the row `after`; each with its row.
    pub(crate) async fn pending(&self, after: i64, limit: u32) -> Result<Vec<(i64, Charge)>, PaymentsError> {
        self.store.call(move |c| store::pending(c, after, limit)).await
    }

    /// Waits until a charge is left pending.
    pub(crate) async fn left_pending(&self) {
        self.left_pending.notified().await;
    }

    /// A customer's credit.
    ///
    /// # Errors
    /// An error of the store.
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
#[path = "payments_tests.rs"]
mod tests;
