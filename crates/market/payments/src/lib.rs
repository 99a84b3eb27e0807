//! The market's payments: charges a customer's credit and posts each charge to the ledger.
//!
//! A charge is stored as `pending`, with its credit deducted, before it is posted to the ledger, and as `posted` once
//! the ledger has confirmed it. Posting is idempotent by the charge's key, so the worker can post a charge again that a
//! crash left pending, and the ledger records it once. A declined charge uses no credit and stays declined.

mod charge;
mod error;
mod ledger_client;
mod payments;
mod process;
mod service;
mod settings;
mod store;
mod worker;

pub use charge::{Charge, Receipt};
pub use error::PaymentsError;
pub use ledger_client::{GrpcLedgerClient, LedgerClient};
pub use payments::{Credit, Payments, PaymentsOptions};
pub use process::{check, run};
pub use service::Service;
pub use settings::{Limits, LimitsError, Settings};
pub use worker::run as run_worker;
