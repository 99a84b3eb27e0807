//! The market's inventory: stock per article, and what is held for which order.
//!
//! Every call is idempotent by order ID, and every answer is durable. Stock is never negative and never held twice; the
//! database's own checks enforce this too. A reservation that was committed, released or refused stays so: a delayed
//! duplicate of a request changes nothing.

mod answers;
mod error;
mod lines;
mod process;
mod seed;
mod service;
mod settings;
mod stock;
mod store;

pub use answers::{ReservationOutcome, StockLevel};
pub use error::InventoryError;
pub use lines::Lines;
pub use process::{check, run};
pub use seed::{Article, Seed, SeedError};
pub use service::Service;
pub use settings::Settings;
pub use stock::Inventory;
