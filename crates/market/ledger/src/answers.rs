//! The answers of the ledger.

use std::time::SystemTime;

use market_api::money::Currency;

use crate::Posting;

/// The result of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The posting's sequence number, from 1 without gaps.
    pub sequence: u64,
    /// Whether it is new; false for a repeated request.
    pub created: bool,
}

/// A posting as it is stored in the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The posting's sequence number.
    pub sequence: u64,
    /// The posting.
    pub posting: Posting,
    /// When it was posted, to the millisecond.
    pub at: SystemTime,
    /// The SPIFFE ID of the service that posted it.
    pub by: String,
}

/// The totals of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The totals of each currency that has entries.
    pub currencies: Vec<CurrencyTotal>,
    /// The last sequence number; 0 when the book is empty.
    pub last_sequence: u64,
}

/// The totals of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencyTotal {
    /// The currency.
    pub currency: Currency,
    /// The number of postings with an entry in the currency.
    pub postings: u64,
    /// The sum of the positive entries.
    pub debits_minor: i64,
    /// The sum of the negative entries, as a positive number.
    pub credits_minor: i64,
}
