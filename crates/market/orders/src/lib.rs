//! The market's orders: accepts orders and drives each to a final state.
//!
//! Every state of an order is durable before the next step begins, and every step is idempotent on the called service
//! by the order's ID. So an acknowledged order is completed or rolled back whichever process crashes in between; a
//! worker resumes orders that were left unfinished by a crash, an unavailable service or a caller that gave up. In a
//! process at most one driver works on an order at any time, and a state is only ever written over its predecessor.

mod clients;
mod downstream;
mod error;
mod in_flight;
mod order;
mod orders;
mod process;
mod record;
mod service;
mod settings;
mod state;
mod store;
mod worker;

pub use clients::Clients;
pub use downstream::{Downstream, TransientError};
pub use error::OrdersError;
pub use order::{Line, Order};
pub use orders::{Orders, OrdersOptions};
pub use process::{check, run};
pub use record::Record;
pub use service::Service;
pub use settings::Settings;
pub use state::{Event, IllegalEvent, Reason, Rejection, State, Step};
pub use worker::run as run_worker;
