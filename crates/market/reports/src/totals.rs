//! The totals, stored together with the cursor of the last posting in them.

use std::path::Path;

use avouch_sqlite::{Store, StoreError};
use avouch_time::clock::SharedClock;

use crate::{CountedPosting, ReportsError, Summary, store};

/// The totals, durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Totals {
    store: Store,
    clock: SharedClock,
}

impl Totals {
    /// Opens the database.
    ///
    /// # Errors
    /// An error of the store.
    pub fn open(database: &Path, clock: SharedClock) -> Result<Self, StoreError> {
        Ok(Self { store: Store::open(database, store::MIGRATIONS)?, clock })
    }

    /// The last posting counted; 0 before the first.
    ///
    /// # Errors
    /// An error of the store.
    pub async fn cursor(&self) -> Result<u64, ReportsError> {
        self.store.call(store::cursor).await
    }

    /// Counts postings and moves the cursor to the last of them, atomically.
    ///
    /// # Errors
    /// [`ReportsError::OutOfSequence`] unless they follow the cursor one by one, or an error of the store.
    pub async fn count(&self, postings: Vec<CountedPosting>) -> Result<(), ReportsError> {
        let now = self.clock.now();
        self.store.call(move |c| store::count(c, &postings, now)).await
    }

    /// The summary of the book, with at most `top` customers.
    ///
    /// # Errors
    /// An error of the store.
    pub async fn summary(&self, top: u32) -> Result<Summary, ReportsError> {
        self.store.call(move |c| store::summary(c, top)).await
    }
}
