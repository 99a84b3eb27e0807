//! The market's inventory: stock per article, and what is held for which order.
//!
//! Every call is idempotent by order ID, and every answer is durable. Stock is never negative and never held twice;
//! the database's own checks say so too. A reservation that ended, or was refused, stays ended: a delayed copy of a
//! request changes nothing.

mod error;
mod lines;
mod process;
mod seed;
mod service;
mod settings;
mod stock;
mod store;

pub use error::InventoryError;
pub use lines::Lines;
pub use process::{check, run};
pub use seed::{Article, Seed, SeedError};
pub use service::Service;
pub use settings::Settings;
pub use stock::{Inventory, Level, Outcome};
