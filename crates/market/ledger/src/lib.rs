//! The market's ledger: append-only, double entry, one sequence without gaps.
//!
//! It refuses a posting that does not add up to zero in every currency, and any change to what is written: the
//! database's own triggers refuse UPDATE and DELETE too. A posting is idempotent by its ID, and its answer is durable.
//! A follower passes the last sequence number that it has processed and misses no posting.

mod answers;
mod book;
mod error;
mod limits;
mod posting;
mod process;
mod service;
mod settings;
mod store;
mod tail;

pub use answers::{CurrencyTotal, Posted, Recorded, Totals};
pub use book::Book;
pub use error::LedgerError;
pub use posting::{Account, Entry, Posting};
pub use process::{check, run};
pub use service::Service;
pub use settings::Settings;
pub use tail::TailEnd;
