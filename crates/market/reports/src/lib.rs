//! The market's reports: what the ledger says, added up for auditors.
//!
//! The sums and the cursor into the ledger are written in one transaction, so a posting counts exactly once whatever is
//! restarted. The stream may end at any time, and does: it is opened again after the cursor. A posting out of sequence
//! or one that makes no sense stops the sums where they are; nothing is skipped and nothing is guessed.

mod error;
mod follow;
mod posting;
mod process;
mod service;
mod settings;
mod store;
mod sums;

pub use error::ReportsError;
pub use follow::{Follower, Ledger, LedgerTail, Standing};
pub use posting::{Counted, Sale};
pub use process::{check, run};
pub use service::Service;
pub use settings::Settings;
pub use sums::{CurrencySum, CustomerSum, Summary, Sums};
