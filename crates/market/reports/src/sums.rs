//! The sums, durable together with the cursor they stand for.

use std::path::Path;
use std::time::SystemTime;

use avouch_spiffe::clock::SharedClock;
use market_api::ids::CustomerId;
use market_api::money::Money;
use market_store::{Store, StoreError};

use crate::{Counted, ReportsError, store};

/// What the book says, as far as it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// One for each currency that has sales.
    pub currencies: Vec<CurrencySum>,
    /// Who owes most, best first.
    pub customers: Vec<CustomerSum>,
    /// The last posting counted; 0 before the first.
    pub cursor: u64,
    /// When it was counted, to the millisecond.
    pub updated_at: Option<SystemTime>,
}

/// What was sold in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencySum {
    /// How much.
    pub sales: Money,
    /// In how many postings.
    pub postings: u64,
}

/// What one customer owes in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerSum {
    /// Who.
    pub customer: CustomerId,
    /// How much.
    pub spent: Money,
}

/// The sums, durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sums {
    store: Store,
    clock: SharedClock,
}

impl Sums {
    /// Opens the database.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(database: &Path, clock: SharedClock) -> Result<Self, StoreError> {
        Ok(Self { store: Store::open(database, store::MIGRATIONS)?, clock })
    }

    /// The last posting counted; 0 before the first.
    ///
    /// # Errors
    /// The store's.
    pub async fn cursor(&self) -> Result<u64, ReportsError> {
        self.store.call(store::cursor).await
    }

    /// Counts postings and moves the cursor behind the last of them: all of that, or nothing.
    ///
    /// # Errors
    /// [`ReportsError::OutOfSequence`] unless they follow the cursor one by one, or the store's.
    pub async fn count(&self, postings: Vec<Counted>) -> Result<(), ReportsError> {
        let now = self.clock.now();
        self.store.call(move |c| store::count(c, &postings, now)).await
    }

    /// What the book says, with at most `top` customers.
    ///
    /// # Errors
    /// The store's.
    pub async fn summary(&self, top: u32) -> Result<Summary, ReportsError> {
        self.store.call(move |c| store::summary(c, top)).await
    }
}
