//! The market's reports: the ledger's postings, added up for auditors.
//!
//! The totals and the cursor into the ledger are written in one transaction, so a posting is counted exactly once even
//! if either service is restarted. The stream may end at any time; it is then opened again after the cursor. At a
//! posting that is out of sequence or invalid the totals stop; no posting is skipped.

mod error;
mod follower;
mod posting;
mod process;
mod service;
mod settings;
mod store;
mod summary;
mod totals;

pub use error::ReportsError;
pub use follower::{Follower, FollowerStatus, Ledger, LedgerTail};
pub use posting::{CountedPosting, Sale};
pub use process::{check, run};
pub use service::Service;
pub use settings::Settings;
pub use summary::{CurrencyTotal, CustomerTotal, Summary};
pub use totals::Totals;
