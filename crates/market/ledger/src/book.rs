//! The ledger's book: the operations on its postings.

use std::path::Path;

use avouch_spiffe::SpiffeId;
use avouch_sqlite::{Store, StoreError};
use avouch_time::clock::SharedClock;
use avouch_time::timestamp::unix_millis;
use market_api::money::{Currency, Money};
use tokio::sync::watch;

use crate::{Account, LedgerError, Posted, Posting, Recorded, Totals, store};

/// The ledger's book, stored in SQLite. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Book {
    store: Store,
    clock: SharedClock,
    head: watch::Sender<u64>,
}

impl Book {
    /// Opens the database.
    ///
    /// # Errors
    /// An error of the store.
    pub async fn open(database: &Path, clock: SharedClock) -> Result<Self, StoreError> {
        let store = Store::open(database, store::MIGRATIONS)?;
        let last = store.call(store::last_sequence).await?;
        Ok(Self { store, clock, head: watch::Sender::new(last) })
    }

    /// Writes a posting. `Ok` means that it is durable.
    ///
    /// # Errors
    /// [`LedgerError::OtherContent`], or an error of the store.
    pub async fn post(&self, posting: Posting, by: &SpiffeId) -> Result<Posted, LedgerError> {
        let by = by.as_str().to_owned();
        let at_ms = unix_millis(self.clock.now());
        let head = self.head.clone();
        let post = move |c: &_| store::post(c, &posting, at_ms, &by);
        // The store's thread moves the head, not this task: this task is cancelled when its caller disconnects, and the
        // followers would then not be notified of the posting.
        self.store.call_then(post, move |posted| advance(&head, posted.sequence)).await
    }

    /// Debits minus credits of an account; zero for one that was never used.
    ///
    /// # Errors
    /// An error of the store.
    pub async fn balance(&self, account: Account, currency: Currency) -> Result<Money, LedgerError> {
        let minor_units = self.store.call(move |c| store::balance(c, &account, currency)).await?;
        Ok(Money { currency, minor_units })
    }

    /// The totals of the whole book.
    ///
    /// # Errors
    /// An error of the store.
    pub async fn totals(&self) -> Result<Totals, LedgerError> {
        self.store.call(store::totals).await
    }

    /// At most `limit` postings after a sequence number, in order.
    ///
    /// # Errors
    /// An error of the store.
    pub async fn read(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, LedgerError> {
        self.store.call(move |c| store::read(c, after, limit)).await
    }

    /// The last sequence number in the file, whichever process wrote it.
    pub(crate) async fn last(&self) -> Result<u64, LedgerError> {
        self.store.call(|c| Ok(store::last_sequence(c)?)).await
    }

    /// The last sequence number that this process wrote, as it changes.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }
}

/// Moves the head forward to `sequence`. A repeated posting has an older number and leaves the head unchanged.
fn advance(head: &watch::Sender<u64>, sequence: u64) {
    head.send_if_modified(|head| {
        let newer = sequence > *head;
        *head = sequence.max(*head);
        newer
    });
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
