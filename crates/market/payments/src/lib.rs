//! The market's payments: charges a customer's credit and posts each charge to the ledger.
//!
//! A charge is durable as `pending`, credit used, before the ledger hears of it, and `posted` once the ledger has it.
//! Posting is idempotent by the charge's key, so a charge that a crash left pending is posted again by the worker and
//! stands in the book once. A declined charge uses nothing and stays declined.

mod book;
mod charge;
mod error;
mod process;
mod service;
mod settings;
mod store;
mod till;
mod worker;

pub use book::{Book, LedgerBook};
pub use charge::{Charge, Receipt};
pub use error::PaymentsError;
pub use process::{check, run};
pub use service::Service;
pub use settings::{Limits, LimitsError, Settings};
pub use till::{Credit, Till, TillOptions};
pub use worker::run as run_worker;
