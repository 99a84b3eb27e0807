//! The market's orders: takes them, and brings each to its end.
//!
//! Every state of an order is durable before the next step begins, and every step is idempotent at the other end by the
//! order's ID. So an order that was acknowledged is finished, or undone, whatever dies in between; a worker picks up
//! what a crash, a service that was away, or a caller that gave up left behind. At any time at most one driver works on
//! an order, and a state is only ever written over the one it follows from.

mod desk;
mod downstream;
mod error;
mod in_flight;
mod order;
mod partners;
mod process;
mod service;
mod settings;
mod state;
mod store;
mod worker;

pub use desk::{Desk, DeskOptions, Record};
pub use downstream::{Downstream, Trouble};
pub use error::OrdersError;
pub use order::{Line, Order};
pub use partners::Partners;
pub use process::{check, run};
pub use service::Service;
pub use settings::Settings;
pub use state::{Event, IllegalEvent, Reason, Rejection, State, Step};
pub use worker::run as run_worker;
