//! The book itself: what callers can do with it.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avouch_spiffe::SpiffeId;
use avouch_spiffe::clock::SharedClock;
use market_api::money::{Currency, Money};
use market_store::{Store, StoreError};
use tokio::sync::watch;

use crate::{Account, LedgerError, Posting, store};

/// Where a posting is in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// 1, 2, 3 …
    pub sequence: u64,
    /// False when it was there already.
    pub created: bool,
}

/// A posting as the book holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place.
    pub sequence: u64,
    /// What was posted.
    pub posting: Posting,
    /// When, to the millisecond.
    pub at: SystemTime,
    /// By which service.
    pub by: String,
}

/// The book in one line per currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// One for each currency that has entries.
    pub currencies: Vec<CurrencyTotal>,
    /// 0 when the book is empty.
    pub last_sequence: u64,
}

/// What the book holds in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencyTotal {
    /// Which.
    pub currency: Currency,
    /// Postings with an entry in it.
    pub postings: u64,
    /// Sum of the positive entries.
    pub debits_minor: i64,
    /// Sum of the negative entries, as a positive number.
    pub credits_minor: i64,
}

/// The book, durable. Cheap to clone.
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
    /// What the store says.
    pub async fn open(database: &Path, clock: SharedClock) -> Result<Self, StoreError> {
        let store = Store::open(database, store::MIGRATIONS)?;
        let last = store.call(store::last_sequence).await?;
        Ok(Self { store, clock, head: watch::Sender::new(last) })
    }

    /// Writes a posting; the answer means it is durable.
    ///
    /// # Errors
    /// [`LedgerError::OtherContent`], or the store's.
    pub async fn post(&self, posting: Posting, by: &SpiffeId) -> Result<Posted, LedgerError> {
        let by = by.as_str().to_owned();
        let now = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let at_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let head = self.head.clone();
        let post = move |c: &_| store::post(c, &posting, at_ms, &by);
        // By the store, not here: the caller may have gone away, and followers must not read what is beyond the head.
        self.store.call_then(post, move |posted| advance(&head, posted.sequence)).await
    }

    /// Debits minus credits of an account; zero for one that was never used.
    ///
    /// # Errors
    /// The store's.
    pub async fn balance(&self, account: Account, currency: Currency) -> Result<Money, LedgerError> {
        let minor_units = self.store.call(move |c| store::balance(c, &account, currency)).await?;
        Ok(Money { currency, minor_units })
    }

    /// The whole book, summed up.
    ///
    /// # Errors
    /// The store's.
    pub async fn totals(&self) -> Result<Totals, LedgerError> {
        self.store.call(store::totals).await
    }

    /// At most `limit` postings after a sequence number, in order.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, LedgerError> {
        self.store.call(move |c| store::read(c, after, limit)).await
    }

    /// The last sequence number in the file, whoever wrote it.
    pub(crate) async fn last(&self) -> Result<u64, LedgerError> {
        self.store.call(|c| Ok(store::last_sequence(c)?)).await
    }

    /// The last sequence number that this process wrote, and when it changes.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }
}

/// A repeated posting is older than the head.
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
