//! The market's ledger: append-only, double entry, one sequence without gaps.
//!
//! Refuses a posting that does not add up to zero in every currency, and any change to what is written: the
//! database's own triggers refuse UPDATE and DELETE too. A posting is idempotent by its ID, and its answer is
//! durable. Whoever follows the book gives the last sequence number it has worked off and misses nothing.

mod book;
mod error;
mod posting;
mod process;
mod service;
mod settings;
mod store;
mod tail;

pub use book::{Book, CurrencyTotal, Posted, Recorded, Totals};
pub use error::LedgerError;
pub use posting::{Account, Entry, Posting};
pub use process::{check, run};
pub use service::Service;
pub use settings::Settings;
pub use tail::TailEnd;
